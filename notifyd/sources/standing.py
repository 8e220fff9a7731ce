"""Where reading a log has come to, for a person: what a cursor says by itself, and what waits behind it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from notifyd.settings import SourceSettings
from notifyd.sources.errors import SourceError
from notifyd.sources.mapping import moment_of
from notifyd.sources.place import WAITING, Cursor, Place, place_of
from notifyd.sources.resume import of
from notifyd.sources.source import Source

COUNTED: Final = 100_000
"""The most rows behind a cursor that are counted."""


@dataclass(frozen=True, slots=True)
class Standing:
    """`text` is the place, such as "key 4711"; `newest` how far the log's own times had come.

    `gaps` are the ranges of keys that were skipped and are still waited for.
    """

    text: str
    newest: datetime | None
    gaps: int
    begins: bool  # nothing was read yet


@dataclass(frozen=True, slots=True)
class Lag:
    """The rows that wait behind a cursor; `more` than were counted. `oldest` is when the first of them happened."""

    rows: int
    more: bool
    oldest: datetime | None

    def behind(self, now: datetime) -> timedelta | None:
        """How long the oldest of them has waited; None where rows say no time."""
        if not self.rows:
            return timedelta()
        return None if self.oldest is None else max(now - self.oldest, timedelta())


def standing(cursor: Cursor) -> Standing:
    """What the cursor says. Raises SourceError where it is none of ours."""
    place = place_of(cursor)
    begins = place.at is None and (place.window is None or place.window.high is None)
    text = "before a log that is not there yet" if place.strategy == WAITING else _text(place, begins=begins)
    return Standing(text, place.newest, sum(len(gap.ranges) for gap in place.gaps), begins)


def read_up_to(cursor: Cursor) -> tuple[str | None, int | None]:
    """The place in words, and its gaps; (None, None) where the cursor is none of ours."""
    try:
        found = standing(cursor)
    except SourceError:
        return None, None
    return found.text, found.gaps


def same_log(cursor: Cursor, settings: SourceSettings) -> bool:
    """Whether the cursor is a place in what the settings read: the same database, and the same of it."""
    if not settings.url.resolved:
        return False
    try:
        kept = place_of(cursor).of
    except SourceError:
        return False
    return kept == of(settings)


def lag(source: Source, cursor: Cursor, now: datetime) -> Lag:
    """Reads what a poll would read, and keeps nothing of it. Raises SourceError where the log cannot be read."""
    rows, oldest = 0, None
    while True:
        batch = source.read(cursor, now)
        rows += len(batch.records) + len(batch.set_aside)
        moments = [moment for record in batch.records if (moment := moment_of(record))]
        oldest = min([*moments, *([oldest] if oldest else [])], default=None)
        cursor = batch.cursor
        if batch.at_end or rows >= COUNTED:
            return Lag(rows, not batch.at_end, oldest)


def _text(place: Place, *, begins: bool) -> str:
    if begins:
        return "before its first row"
    return "time" if place.at is None else f"{place.strategy} {place.at}"
