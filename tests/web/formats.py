"""Texts of the formats that a schema of a plugin names, for schemathesis: it knows of neither what is one."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.format("regex", st.sampled_from(["timed? ?out", r"^TEST-\d+$", "x"]))
schemathesis.openapi.format("time-zone", st.sampled_from(["UTC", "Europe/Berlin", "America/Edmonton"]))
