"""What holds for all tests."""

from __future__ import annotations

import os
import sys

# pytest-xdist tells its workers a width of 80, and notifyd takes $COLUMNS for the wish of a person.
os.environ.pop("COLUMNS", None)

# Hundreds of Python processes are started here; where bytecode is not to be kept, each would compile notifyd anew, and
# each worker all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
