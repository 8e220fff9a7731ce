"""What reading a source gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from notifyd.model import Record
from notifyd.sources.place import Cursor, Place


class SetAside(NamedTuple):
    """A row that could not become a Record: its key (else its place in the log), and why."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Start:
    """Where a first start begins, and the rows before it that are running or retrying now, to be watched.

    `ended` are the newest rows before it that have ended, oldest first: they may be run again.
    """

    cursor: Cursor
    records: list[Record]
    ended: list[Record] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class About:
    """How a source is read, for `notifyd check` and `notifyd sources`.

    `strategy` is "key", "rowid" or "timestamp", and `text` says in one line what that means here. `gaps` counts
    the ranges of keys that are waited for, `warnings` are lines for a person who should mend something, and
    `clock` is how far the database's clock is ahead of ours, where it has one of its own.
    """

    strategy: str
    text: str
    gaps: int
    warnings: tuple[str, ...]
    clock: timedelta | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read found.

    What a row that changes after it was read looks like depends on the strategy (`Source.sees_changes`):

    - by time, `records` holds a row again whenever its status is not the one that was seen last
    - by key or rowid, `records` holds each row once; that it changed is seen by `Source.look_up` alone

    Either way the same state may come more than once (a clock that was set back, a restored log, a row that was
    both looked up and read): to count it once, by key, is the fold's part. A row that was committed late may
    come after rows that are newer; nothing but a read at its own end (`at_end`) says that none is missing.

    `cursor` is where the next read begins. `at_end` is false while more may be waiting. `epoch` grows when the log
    restarts or is restored, so that a key that comes again is a new row; `notes` says such things to a person.
    """

    records: list[Record]
    set_aside: list[SetAside]
    cursor: Cursor
    at_end: bool
    epoch: int = 0
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows it brings."""
        return len(self.records) + len(self.set_aside)


@dataclass(frozen=True, slots=True)
class Found:
    """What one read of a strategy found: a batch whose `place` is not yet a cursor.

    `whole` is whether it looked everywhere, so that only what is written later can be news.
    """

    records: list[Record]
    set_aside: list[SetAside]
    place: Place
    at_end: bool
    notes: tuple[str, ...] = ()
    whole: bool = True

    @property
    def is_news(self) -> bool:
        """Whether anybody has to know of it; else it is a page of a log that was read before."""
        return bool(self.records or self.set_aside or self.notes)
