"""Rows that change after they were read, beside a cursor that gives each row once.

Where `updated_at` is mapped and has an index, the rows that lie behind the cursor are read again when it says that
they were changed: with the same window as the strategy `timestamp`, so that a row comes once for each status. Without
an index each poll would read the whole log; then rows that have ended are looked up for a while (`rewatch`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from notifyd.model import Record, Status
from notifyd.settings import SourceSettings
from notifyd.sources.anchored import Anchored
from notifyd.sources.batch import Found, SetAside
from notifyd.sources.by_key import ByKey
from notifyd.sources.database import Row
from notifyd.sources.place import Begin, Place
from notifyd.sources.sync_log import SyncLog
from notifyd.sources.timestamp import ByTimestamp
from notifyd.sources.window import Window, fingerprint

_LIVE: Final = (Status.RUNNING, Status.RETRYING, Status.FAILURE)


@dataclass(frozen=True, slots=True)
class Changed:
    """Rows that were changed; `complete` is false where more may be found at once, `whole` as `Found` has it."""

    records: list[Record]
    set_aside: list[SetAside]
    window: Window
    complete: bool
    whole: bool


class Changes(ByTimestamp):
    """The rows up to a number that were changed lately."""

    def __init__(self, log: SyncLog, settings: SourceSettings, number: str) -> None:
        super().__init__(log, settings)
        self._number = number
        self.column = settings.columns.updated_at.column if settings.columns.updated_at else ""

    def first(self, log: SyncLog, now: datetime) -> Window:
        """What there is now counts as seen."""
        return self._at_end(log, now)

    def knowing(self, window: Window, records: Sequence[Record], now: datetime) -> Window:
        """The window after a batch that did not come to the end: its rows are known as they were read.

        But for those that have settled, which `behind` leaves out anyway.
        """
        read = {fingerprint(one.key): (now.timestamp(), one.status.value) for one in records if one.status in _LIVE}
        return replace(window, seen={**window.seen, **read}) if read else window

    def behind(self, log: SyncLog, place: Place, read: Mapping[str, Status], now: datetime, limit: int) -> Changed:
        """The rows behind a place that have another status than was seen; `read` were read just now.

        What the cursor has read since the last look is new to the window, and no change: of those rows only the ones
        that run or have failed are given, where they were not read so.
        """
        window = place.changes or Window()
        begin, overlap = self._overlap.begin(window, now), self._overlap.kept(now)
        found = self._rows(log, begin, limit, window.sweep, also=(self._number,))
        rows = [row for row in found if place.at is not None and row[-1] <= place.at]
        look = self._look(log, rows, begin, window, now)
        if overlap is None:  # a row that is dated before a short look is known as read; else the whole gives it again
            as_read = {fingerprint(key): (now.timestamp(), status.value) for key, status in read.items()}
            look = replace(look, seen={**as_read, **look.seen})
        read_lately = {self._key_of(row) for row in rows if place.changed is None or row[-1] > place.changed}
        peak = max((m for m in (*look.moments, window.sweep and window.sweep.peak) if m and m <= now), default=None)
        complete = len(found) < limit
        return Changed(
            [one for one in look.records if _may_be_news(one, read, read_lately)],
            [aside for aside in look.set_aside if aside.key not in read_lately],
            window.ended(look.seen, peak, overlap)
            if complete
            else window.paused(look.seen, self._overlap.after(found[-1], peak), overlap),
            complete,
            whole=complete and self._overlap.looked(now),
        )


class WithChanges:
    """A strategy that gives each row once, and the rows behind it that change."""

    sees_changes = True

    def __init__(self, strategy: Anchored | ByKey, changes: Changes) -> None:
        self.name, self.order = strategy.name, strategy.order
        self._strategy, self._changes = strategy, changes

    def begin(self, log: SyncLog, begin: Begin, now: datetime) -> Place:
        return self._strategy.begin(log, begin, now)

    def since(self, log: SyncLog, moment: datetime | None, now: datetime) -> Place:
        return self._strategy.since(log, moment, now)

    def read(self, log: SyncLog, place: Place, now: datetime, limit: int) -> Found:
        window = place.changes or self._changes.first(log, now)
        found = self._strategy.read(log, replace(place, changes=None, changed=None), now, limit)
        reached = replace(found.place, changes=window, changed=place.changed)
        if reached.epoch != place.epoch or _went_back(place, found):
            reached = replace(reached, changed=None)
        if not found.at_end:
            return replace(found, place=replace(reached, changes=self._changes.knowing(window, found.records, now)))
        read = {record.key: record.status for record in found.records}
        changed = self._changes.behind(log, reached, read, now, limit)
        return Found(
            [*found.records, *changed.records],
            [*found.set_aside, *changed.set_aside],
            replace(reached, changes=changed.window, changed=reached.at if changed.complete else reached.changed),
            at_end=changed.complete,
            notes=(*found.notes, *self._changes.said_of(changed.window)),
            whole=changed.whole,
        )

    def open_rows(self, log: SyncLog, place: Place, now: datetime) -> list[Record]:
        return self._strategy.open_rows(log, place, now)

    def about(self, log: SyncLog) -> str:
        return f"{self._strategy.about(log)}; rows that change later are seen by {self._changes.column}"

    def before(self, log: SyncLog, row: Row, now: datetime) -> Place:
        return self._strategy.before(log, row, now)

    def holds(self, log: SyncLog, place: Place, now: datetime) -> bool:
        return self._strategy.holds(log, place, now)

    def passed(self, log: SyncLog, place: Place, row: Row) -> bool:
        return self._strategy.passed(log, place, row)


def with_changes(strategy: Anchored | ByKey, log: SyncLog, settings: SourceSettings) -> Anchored | ByKey | WithChanges:
    """The strategy, and the rows that change where an index shows them."""
    changed = log.selection.changes
    if settings.rows != "runs" or changed is None or not _indexed(log, changed):
        return strategy
    return WithChanges(strategy, Changes(log, settings, strategy.order))


def _indexed(log: SyncLog, order: str) -> bool:
    return not log.database.sorts(f"SELECT {order} FROM {log.relation.sql} ORDER BY {order} DESC LIMIT 1")


def _went_back(place: Place, found: Found) -> bool:
    """Whether numbers came again, so that what lies before the last look was read just now."""
    came, at = found.records or found.set_aside, found.place.at
    return bool(came) and None not in (place.changed, at) and (at or 0) <= (place.changed or 0)


def _may_be_news(record: Record, read: Mapping[str, Status], read_lately: set[str]) -> bool:
    if record.key in read:
        return read[record.key] is not record.status
    return record.key not in read_lately or record.status in _LIVE
