"""How new rows are found: each strategy keeps a place in the log, and reads on from there.

key         by the key, where that is a whole number that the log gives in growing order
rowid       by the number that the database itself gives each row (SQLite), or that a query selects as `rowid`
timestamp   by the time when a row was last changed, else when it was written
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from notifyd.model import Record
from notifyd.settings import SourceSettings
from notifyd.sources.anchored import Anchored
from notifyd.sources.batch import Found
from notifyd.sources.by_key import ByKey
from notifyd.sources.changes import with_changes
from notifyd.sources.database import Kind, Row
from notifyd.sources.errors import SourceError
from notifyd.sources.keyset import MEND
from notifyd.sources.marks import Marks
from notifyd.sources.place import Begin, Place
from notifyd.sources.selection import KEY_LIMIT
from notifyd.sources.sync_log import SyncLog
from notifyd.sources.timestamp import ByTimestamp


class Strategy(Protocol):
    """One way to find new rows. `order` is the SQL of a row's place in the log."""

    name: str
    order: str
    sees_changes: bool  # whether a row is given again when it has changed

    def begin(self, log: SyncLog, begin: Begin, now: datetime) -> Place:
        """Where a first start begins."""
        ...

    def since(self, log: SyncLog, moment: datetime | None, now: datetime) -> Place:
        """Before the rows that are dated `moment` or later; before all, for None or where rows have no dates."""
        ...

    def read(self, log: SyncLog, place: Place, now: datetime, limit: int) -> Found:
        """The next rows, at most `limit`."""
        ...

    def open_rows(self, log: SyncLog, place: Place, now: datetime) -> list[Record]:
        """The rows before a place that are running or retrying, to be watched."""
        ...

    def about(self, log: SyncLog) -> str:
        """How the log is read, in one line for a person."""
        ...

    def before(self, log: SyncLog, row: Row, now: datetime) -> Place:
        """Right before a row."""
        ...

    def holds(self, log: SyncLog, place: Place, now: datetime) -> bool:
        """Whether this log is the one that the place is in: what was read last is there."""
        ...

    def passed(self, log: SyncLog, place: Place, row: Row) -> bool:
        """Whether the place is behind this row."""
        ...


def choose(log: SyncLog, settings: SourceSettings) -> Strategy:
    """The strategy that the settings ask for, or the one that fits; SourceError where nothing orders the rows."""
    if settings.cursor == "timestamp":
        return ByTimestamp(log, settings)
    key, relation = settings.columns.key.column, log.relation
    order = log.selection.expression(settings.columns.key)
    if key.lower() in relation.serials:
        return with_changes(_by_key(log, order, key, settings), log, settings)
    if relation.rowid is not None:
        identity = _written(log, settings) if relation.rowid == order else log.database.text(order)
        by_key = relation.rowid != order
        marks = Marks(order, None, tells_apart=True) if by_key else _marks(log, order, settings)
        by_rowid = Anchored("rowid", relation.rowid, "rowid", identity, marks, by_key=by_key)
        return with_changes(by_rowid, log, settings)
    if log.selection.kind("key") in (Kind.ANY, Kind.NUMBER) and isinstance(log.last_place(order), int | None):
        return with_changes(_by_key(log, order, key, settings), log, settings)
    if settings.cursor == "auto" and log.selection.changed is not None:
        return ByTimestamp(log, settings)
    raise SourceError(
        f'columns.key "{key}" of {relation.name} is no whole number, so nothing says which rows are new: {MEND}'
    )


_KEPT = ("run_id", "occurred_at", "started_at", "schedule_id")


def _by_key(log: SyncLog, order: str, key: str, settings: SourceSettings) -> Anchored | ByKey:
    column, marks = f'column "{key}"', _marks(log, order, settings)
    if log.relation.writers is None:
        return Anchored("key", order, column, _written(log, settings), marks, by_key=False)
    return ByKey(order, column, marks, settings.gap_horizon)


def _written(log: SyncLog, settings: SourceSettings) -> str | None:
    """SQL for what a row keeps besides its number: its run, and when it was written. NULL where one is missing.

    Where neither is mapped, when it began and what it belongs to; never its end, which a rerun changes.
    """
    return " || ' ' || ".join(_texts(log, settings, _kept(settings))) or None


def _marks(log: SyncLog, order: str, settings: SourceSettings) -> Marks:
    """Marks of what a row keeps; where that is its schedule alone, of its end as well.

    SQLite's rows are held by what they keep already, so that only those that are told apart by their end are marked.
    """
    kept = _texts(log, settings, _kept(settings))
    if _tells_apart(settings):
        return Marks(order, None if log.relation.writers is None else _together(log, kept, kept), tells_apart=True)
    ends = _texts(log, settings, ["finished_at"])
    return Marks(order, _together(log, [*kept, *ends], ends or kept), tells_apart=bool(ends))


def _together(log: SyncLog, texts: list[str], needed: list[str]) -> str | None:
    """SQL for all of the texts as one; NULL where one is missing that is needed."""
    there = " AND ".join(f"{text} IS NOT NULL" for text in needed)
    return f"CASE WHEN {there} THEN {log.database.joined(texts)} END" if texts else None


def _kept(settings: SourceSettings) -> list[str]:
    """The fields that a row keeps; a time that is touched again and again is none, whatever it is mapped as."""
    columns = settings.columns
    touched = [column for column in (columns.updated_at, columns.heartbeat_at) if column is not None]
    mapped = [name for name in _KEPT if getattr(columns, name) not in (None, *touched)]
    return [name for name in mapped if name in _KEPT[:2]] or mapped


def _texts(log: SyncLog, settings: SourceSettings, fields: Sequence[str]) -> list[str]:
    there = [name for name in fields if getattr(settings.columns, name) is not None]
    return [log.database.text(sql, KEY_LIMIT) for name in there if (sql := log.selection.plain(name))]


def _tells_apart(settings: SourceSettings) -> bool:
    """Whether what a row keeps is hardly ever the same in another one: a schedule alone is."""
    return any(name in _KEPT[:3] for name in _kept(settings))
