"""Texts made fit to be shown: cut to a length, and free of what a reader cannot see."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# What may not reach a reader: control characters, lone surrogates, and the marks that turn the
# direction of text around so that it reads differently from what it is.
_UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")


def one_line(text: str, limit: int) -> str:
    """The text as one clean line of at most `limit` characters."""
    return _cut(" ".join(_clean(text).split()), limit)


def clean_lines(text: str, limit: int) -> str:
    """The text as clean lines of at most `limit` characters, without blank ones at its ends."""
    return _cut(_clean(text).strip(), limit)


def moment(time: datetime) -> str:
    """A time as people read it: `2026-11-24 21:00:00 UTC`."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _clean(text: str) -> str:
    """The text with one kind of line end, and with a visible mark where something unprintable was."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", _LINE_ENDS.sub("\n", text).replace("\t", "    "))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
