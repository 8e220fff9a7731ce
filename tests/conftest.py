"""What holds for all tests."""

from __future__ import annotations

import os

# pytest-xdist tells its workers a width of 80, and notifyd takes $COLUMNS for the wish of a person.
os.environ.pop("COLUMNS", None)
