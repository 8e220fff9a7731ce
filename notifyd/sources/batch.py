"""What reading a source gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from notifyd.model import Record

Cursor = str
"""How far a log has been read: opaque JSON, kept in the state DB and handed back at the next read."""


class SetAside(NamedTuple):
    """A row that could not become a Record: its key (else its place in the log), and why."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Start:
    """Where a first start begins, and the rows before it that are running or retrying now, to be watched."""

    cursor: Cursor
    records: list[Record]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read found.

    `cursor` is where the next read begins. `at_end` is false while more may be waiting. `rows` is
    how many rows were read: `records` and `set_aside` together. `epoch` grows when the log restarts
    or is restored, so that a key that comes again is a new row; `notes` says such things to a person.
    """

    records: list[Record]
    set_aside: list[SetAside]
    cursor: Cursor
    at_end: bool
    rows: int
    epoch: int = 0
    notes: tuple[str, ...] = ()
