"""How new rows are found: each strategy keeps a place in the log, and reads on from there.

    key     by the key, where that is a whole number that the log gives in growing order
    rowid   by the number that the database itself gives each row (SQLite), or that a query selects as `rowid`

A cursor is a place as JSON: `{"strategy": "rowid", "at": 4711, "epoch": 0, "newest": "2026-11-24T21:00:00Z"}`.
`at` is the last row read, null before the first; `newest` is how far the log's own times had come.
A place of the strategy `waiting` is before a log that does not exist yet; see `waiting`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Protocol

from notifyd.model import Record, rfc3339
from notifyd.sources.batch import Batch, Cursor
from notifyd.sources.database import Row
from notifyd.sources.errors import SourceError
from notifyd.sources.mapping import Page, moment_of
from notifyd.sources.sync_log import SyncLog

WAITING = "waiting"

_FIRST = -(2**63)
_LAST = 2**63 - 1
_STRIDE = 1_000
_MEND = "map a whole number that grows, or let the query or view select the table's rowid too (SELECT rowid, …)"
_CLOCKS_DIFFER = timedelta(minutes=5)  # how far the clock that dates a log may be behind ours

Begin = Literal["now", "beginning"] | timedelta


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a log reading has come to."""

    strategy: str
    at: int | None = None
    epoch: int = 0
    newest: datetime | None = None

    @property
    def cursor(self) -> Cursor:
        """The place as a cursor."""
        newest = rfc3339(self.newest) if self.newest else None
        return json.dumps({"strategy": self.strategy, "at": self.at, "epoch": self.epoch, "newest": newest})


def place_of(cursor: Cursor) -> Place:
    """The place that a cursor keeps; SourceError where it is none of ours."""
    try:
        kept = json.loads(cursor)
        at, newest = kept["at"], kept["newest"]
        return Place(
            strategy=str(kept["strategy"]),
            at=None if at is None else int(at),
            epoch=int(kept["epoch"]),
            newest=datetime.fromisoformat(newest) if newest else None,
        )
    except (ValueError, KeyError, TypeError):
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


class Strategy(Protocol):
    """One way to find new rows. `order` is the SQL of a row's place in the log."""

    name: ClassVar[str]
    order: str

    def begin(self, log: SyncLog, begin: Begin, now: datetime) -> Place:
        """Where a first start begins."""
        ...

    def since(self, log: SyncLog, moment: datetime | None, now: datetime) -> Place:
        """Before the rows that are dated `moment` or later; before all, for None or where rows have no dates."""
        ...

    def read(self, log: SyncLog, place: Place, now: datetime, limit: int) -> Batch:
        """The next rows, at most `limit`."""
        ...


class _Keyset:
    """Rows in the order of a number that only grows: `WHERE number > :at ORDER BY number LIMIT …`.

    A log whose last number lies before the cursor was emptied, restored, or lost its newest rows. An
    empty one is read from its beginning; another from the rows that are dated after what was read, or,
    where rows have no dates, from its end. Either way a new epoch begins, as its numbers come again.
    """

    name: ClassVar[str]

    def __init__(self, order: str, column: str) -> None:
        self.order = order
        self._column = column

    def begin(self, log: SyncLog, begin: Begin, now: datetime) -> Place:
        if begin == "beginning":
            return Place(self.name)
        if begin == "now":
            return Place(self.name, self._last(log), newest=now)
        if not log.selection.dated:
            raise SourceError('start is a time, but no time is mapped: map columns.occurred_at, or use start = "now"')
        return self.since(log, now - begin, now)

    def since(self, log: SyncLog, moment: datetime | None, now: datetime) -> Place:
        if moment is None or not log.selection.dated:
            return Place(self.name)
        last, first, at = self._last(log), None, _LAST
        while rows := log.newest(self.order, _STRIDE, f"{self.order} <= :at", {"at": at}):
            moments = [_moment(log, row, now) for row in rows]
            within = [row[0] for row, dated in zip(rows, moments, strict=True) if dated and dated >= moment]
            if within:
                first = within[-1]
            elif any(moments):
                return Place(self.name, last if first is None else first - 1)
            at = rows[-1][0] - 1
        return Place(self.name, None if first is None else first - 1)

    def read(self, log: SyncLog, place: Place, now: datetime, limit: int) -> Batch:
        at = _FIRST if place.at is None else place.at
        page = log.page(self.order, f"{self.order} > :at", {"at": at}, limit, now)
        if page.rows == 0:
            return self._nothing_new(log, place, now)
        reached = replace(place, at=self._whole(page.place), newest=_newest(page, now) or place.newest)
        return Batch(page.records, page.set_aside, reached.cursor, page.rows < limit, page.rows, place.epoch)

    def _nothing_new(self, log: SyncLog, place: Place, now: datetime) -> Batch:
        last = self._last(log)
        if place.at is None or (last is not None and last >= place.at):
            return Batch([], [], place.cursor, at_end=True, rows=0, epoch=place.epoch)
        anew = self._anchor(log, last, place, now)
        note = f"the log now ends before what was read of it: {self._column} {place.at}; {_reading_from(anew)}"
        return Batch([], [], anew.cursor, at_end=last == anew.at, rows=0, epoch=anew.epoch, notes=(note,))

    def _anchor(self, log: SyncLog, last: int | None, place: Place, now: datetime) -> Place:
        if last is None or (log.selection.dated and place.newest):
            anew = self.since(log, place.newest, now)
        else:
            anew = Place(self.name, last)
        return replace(anew, epoch=place.epoch + 1, newest=place.newest)

    def _last(self, log: SyncLog) -> int | None:
        last = log.last_place(self.order)
        return None if last is None else self._whole(last)

    def _whole(self, number: Any) -> int:
        if not isinstance(number, int):
            held = "text" if isinstance(number, str) else "other values"
            raise SourceError(f"{self._column} orders the log, but it holds {held} besides whole numbers: {_MEND}")
        return number


class ByKey(_Keyset):
    """By the key itself."""

    name = "key"


class ByRowid(_Keyset):
    """By the row number of the database."""

    name = "rowid"


def choose(log: SyncLog, key: str) -> Strategy:
    """The strategy for a log whose key is this column; SourceError where nothing orders its rows."""
    relation, order = log.relation, log.selection.expression(key)
    by_key = ByKey(order, f'column "{key}"')
    if key.lower() in relation.serials:
        return by_key
    if relation.rowid is not None:
        return ByRowid(relation.rowid, "rowid")
    if isinstance(log.last_place(order), int | None):
        return by_key
    raise SourceError(
        f'columns.key "{key}" of {relation.name} is no whole number, so nothing says which rows are new: {_MEND}'
    )


def _moment(log: SyncLog, row: Row, now: datetime) -> datetime | None:
    """When the row says that it happened; None where it says nothing, or a time that is still to come."""
    record = log.mapping.record_or_aside(row, now)
    moment = moment_of(record) if isinstance(record, Record) else None
    return moment if moment is not None and moment <= now else None


def _newest(page: Page, now: datetime) -> datetime | None:
    moment = moment_of(page.records[-1]) if page.records else None
    return min(moment, now) if moment else None


def _reading_from(place: Place) -> str:
    return "it is read from its beginning" if place.at is None else f"it is read on behind {place.at}"
