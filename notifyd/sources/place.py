"""Where in a log reading has come to: the value that a cursor keeps.

A cursor is a place as JSON: `{"strategy": "rowid", "at": 4711, "epoch": 0, "newest": "2026-11-24T21:00:00Z"}`.
`at` is the last row read, null before the first; `newest` is how far the log's own times had come. What else a
strategy must remember over a restart comes with it, bounded in size: `gaps` with `read_at`, `fallen`, `anchor`,
`marks`, `window`, or `changes` with `changed`. `of` is what it is a place in; see `resume`.
A place of the strategy `waiting` is before a log that does not exist yet; see `waiting`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from notifyd.model import rfc3339
from notifyd.sources.errors import SourceError
from notifyd.sources.gaps import Gap, gap_of
from notifyd.sources.window import Window, window_of

Cursor = str
"""How far a log has been read: opaque JSON, kept in the state DB and handed back at the next read."""

WAITING = "waiting"

_CLOCKS_DIFFER = timedelta(minutes=5)  # how far the clock that dates a log may be behind ours

Begin = Literal["now", "beginning"] | timedelta

Anchor = tuple[tuple[int, str], ...]
"""The last few rows that were read: their places in the log, and their keys or what else they keep."""


class Of(NamedTuple):
    """What a place is a place in, as fingerprints: the database, what is read of it, and the key of its rows."""

    database: str
    log: str
    key: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a log reading has come to."""

    strategy: str
    at: int | None = None
    epoch: int = 0
    newest: datetime | None = None
    gaps: tuple[Gap, ...] = ()
    read_at: datetime | None = None  # when the ages of the gaps were right
    fallen: int | None = None  # where the log ends, if that is before `at`
    anchor: Anchor = ()
    marks: Anchor = ()  # see `marks`
    window: Window | None = None
    changes: Window | None = None  # of the rows behind `at` that change; see `changes`
    changed: int | None = None  # how far `at` had come at the last look for those
    of: Of | None = None

    @property
    def untouched(self) -> bool:
        """Whether no row was read or passed by."""
        return self.at is None and (self.window is None or self.window == Window()) and not self.epoch

    @property
    def cursor(self) -> Cursor:
        """The place as a cursor."""
        kept: dict[str, Any] = {"of": self.of} if self.of else {}
        kept |= {
            "strategy": self.strategy,
            "at": self.at,
            "epoch": self.epoch,
            "newest": rfc3339(self.newest) if self.newest else None,
        }
        if self.gaps:
            kept["gaps"] = [gap.as_json() for gap in self.gaps]
            kept["read_at"] = rfc3339(self.read_at) if self.read_at else None
        if self.fallen is not None:
            kept["fallen"] = self.fallen
        if self.anchor:
            kept["anchor"] = self.anchor
        if self.marks:
            kept["marks"] = self.marks
        if self.window:
            kept["window"] = self.window.as_json()
        if self.changes:
            kept["changes"], kept["changed"] = self.changes.as_json(), self.changed
        return json.dumps(kept, separators=(",", ":"))


def place_of(cursor: Cursor) -> Place:
    """The place that a cursor keeps; SourceError where it is none of ours."""
    try:
        kept = json.loads(cursor)
        at, window, fallen = kept["at"], kept.get("window"), kept.get("fallen")
        changes, changed = kept.get("changes"), kept.get("changed")
        return Place(
            strategy=str(kept["strategy"]),
            at=None if at is None else int(at),
            epoch=int(kept["epoch"]),
            newest=_moment(kept["newest"]),
            gaps=tuple(map(gap_of, kept.get("gaps", ()))),
            read_at=_moment(kept.get("read_at")),
            fallen=None if fallen is None else int(fallen),
            anchor=tuple((int(place), str(key)) for place, key in kept.get("anchor", ())),
            marks=tuple((int(place), str(mark)) for place, mark in kept.get("marks", ())),
            window=window_of(window) if window else None,
            changes=window_of(changes) if changes else None,
            changed=None if changed is None else int(changed),
            of=Of(*map(str, kept["of"])) if "of" in kept else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SourceError(
            "its cursor in the state DB cannot be understood; was it written by a newer notifyd?"
        ) from None


def waiting(begin: Begin, now: datetime) -> Place:
    """Before a log that does not exist yet, such as a table that comes with the first failure.

    What it holds when it appears is read from the beginning, or, where its rows are dated, from what
    is dated `newest` or later: so a mistyped name, once mended, does not tell the log's whole history.
    """
    if begin == "beginning":
        return Place(WAITING)
    return Place(WAITING, newest=now - (_CLOCKS_DIFFER if begin == "now" else begin))


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
