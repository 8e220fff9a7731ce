"""Rows in the order of a number that grows: what the strategies `key` and `rowid` share.

key     by the key, where that is a whole number that the log gives in growing order (`by_key`, on a server)
rowid   by the number that the database itself gives each row (SQLite), or that a query selects as `rowid` (`anchored`)

Neither trusts the number alone. On a server rows become visible out of order, so keys that were skipped are waited for;
in SQLite numbers come again, so the last rows are an anchor. And a log that ends before what was read has restarted.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from notifyd.model import Record
from notifyd.sources.batch import Found
from notifyd.sources.database import Row
from notifyd.sources.errors import SourceError
from notifyd.sources.mapping import Page, moment_of
from notifyd.sources.marks import MARKED, Marks
from notifyd.sources.place import Begin, Place
from notifyd.sources.sync_log import SyncLog

FIRST: Final = -(2**63)
STRIDE: Final = 1_000
"""How many rows are looked at together where the end of a log is searched."""

UNNOTICED: Final = (
    "if the log is emptied and filled again as far, that is not noticed: map columns.run_id, occurred_at, started_at "
    "or finished_at"
)
MEND: Final = (
    'map a whole number that grows, map a time and set cursor = "timestamp", or let the query or view select the '
    "table's rowid too (SELECT rowid, …)"
)
_LAST = 2**63 - 1


class Keyset:
    """Rows in the order of a number that only grows: `WHERE number > :at ORDER BY number LIMIT …`.

    A log whose last number lies before the cursor was emptied, restored, or lost its newest rows. An
    empty one is read from its beginning; another from the rows that are dated after what was read, or,
    where rows have no dates, from its end. Either way a new epoch begins, as its numbers come again.
    """

    name: str
    sees_changes = False

    def __init__(self, order: str, column: str, marks: Marks) -> None:
        self.order = order
        self._column = column
        self._marks = marks

    def begin(self, log: SyncLog, begin: Begin, now: datetime) -> Place:
        if begin == "beginning":
            return Place(self.name)
        if begin == "now":
            return self._at_end(log, now)
        if not log.selection.dated:
            raise SourceError('start is a time, but no time is mapped: map columns.occurred_at, or use start = "now"')
        return self.since(log, now - begin, now)

    def since(self, log: SyncLog, moment: datetime | None, now: datetime) -> Place:
        if moment is None or not log.selection.dated:
            return Place(self.name)
        last, first, at = self._last(log), None, _LAST
        while rows := log.newest(self.order, STRIDE, f"{self.order} <= :at", {"at": at}):
            moments = [past_moment(log, row, now) for row in rows]
            within = [row[0] for row, dated in zip(rows, moments, strict=True) if dated and dated >= moment]
            if within:
                first = within[-1]
            elif any(moments):
                return Place(self.name, last if first is None else first - 1)
            at = rows[-1][0] - 1
        return Place(self.name, None if first is None else first - 1)

    def open_rows(self, log: SyncLog, place: Place, now: datetime) -> list[Record]:
        return [] if place.at is None else log.open_rows(self.order, place.at, now)

    def before(self, log: SyncLog, row: Row, now: datetime) -> Place:
        return Place(self.name, self._whole(row[0]) - 1)

    def holds(self, log: SyncLog, place: Place, now: datetime) -> bool:
        """Its number alone says little, as most logs have a row 4711: it has to be dated as it was, too."""
        row = next(iter(log.newest(self.order, 1, f"{self.order} = :at", {"at": place.at})), None)
        if row is None:
            return False
        record = log.mapping.record_or_aside(row, now)
        return not log.selection.dated or (isinstance(record, Record) and place.newest in _moments(record))

    def passed(self, log: SyncLog, place: Place, row: Row) -> bool:
        return place.at is not None and bool(row[0] <= place.at)

    def _page(self, log: SyncLog, place: Place, limit: int, now: datetime) -> Page:
        at = FIRST if place.at is None else place.at
        return log.page(self.order, f"{self.order} > :at", {"at": at}, limit, now)

    def _reached(self, place: Place, page: Page, now: datetime) -> Place:
        if page.rows == 0:
            return place
        return replace(place, at=self._whole(page.place), newest=_newest(page, now) or place.newest, fallen=None)

    def _at_end(self, log: SyncLog, now: datetime) -> Place:
        return Place(self.name, self._last(log), newest=now)

    def _restarted(self, log: SyncLog, place: Place, now: datetime) -> Found | None:
        """What to do where the log ends before what was read of it; None where it does not."""
        last = self._last(log)
        if place.at is None or (last is not None and last >= place.at):
            return None
        anew = self._anew(log, last, place, now)
        note = f"the log now ends before what was read of it: {self._column} {place.at}; {reading_from(anew)}"
        return Found([], [], anew, at_end=last == anew.at, notes=(note,))

    def _anew(self, log: SyncLog, last: int | None, place: Place, now: datetime) -> Place:
        if last is None or (log.selection.dated and place.newest):
            anew = self.since(log, place.newest, now)
        else:
            anew = Place(self.name, last)
        return replace(anew, epoch=place.epoch + 1, newest=place.newest)

    def _filled_again(self, log: SyncLog, place: Place, other: int, now: datetime) -> Found:
        """What to do where the last rows that were read are others now: `other` is the number of the first of those."""
        anew = self.since(log, place.newest, now)
        if anew.at is not None:
            anew = replace(anew, at=min(anew.at, other - 1))
        anew = replace(anew, epoch=place.epoch + 1, newest=place.newest)
        note = (
            f"the last rows that were read are others, or were all run again: {self._column} {other} to {place.at}; "
            f"{reading_from(anew)}"
        )
        return Found([], [], anew, at_end=False, notes=(note,))

    def _last(self, log: SyncLog) -> int | None:
        last = log.last_place(self.order)
        return None if last is None else self._whole(last)

    def _whole(self, number: Any) -> int:
        if not isinstance(number, int):
            held = "text" if isinstance(number, str) else "other values"
            raise SourceError(f"{self._column} orders the log, but it holds {held} besides whole numbers: {MEND}")
        return number


def found_of(place: Place, page: Page, limit: int) -> Found:
    return Found(page.records, page.set_aside, place, page.rows < limit)


def reading_from(place: Place) -> str:
    return "it is read from its beginning" if place.at is None else f"it is read on behind {place.at}"


def whole_keys(page: Page) -> list[int]:
    """The last of the keys that are numbers: of a text, or of a row that could not be mapped, there is no mark."""
    keys = [record.key for record in page.records[-MARKED:]]
    return [int(key) for key in keys if key.isascii() and key.removeprefix("-").isdigit()]


def past_moment(log: SyncLog, row: Row, now: datetime) -> datetime | None:
    """When the row says that it happened; None where it says nothing, or a time that is still to come."""
    record = log.mapping.record_or_aside(row, now)
    moment = moment_of(record) if isinstance(record, Record) else None
    return moment if moment is not None and moment <= now else None


def _moments(record: Record) -> tuple[datetime | None, ...]:
    """What may have been its newest time: a row that was running has got an end since."""
    return record.finished_at, record.occurred_at, record.started_at


def _newest(page: Page, now: datetime) -> datetime | None:
    moment = moment_of(page.records[-1]) if page.records else None
    return min(moment, now) if moment else None
