"""How new rows are found: each strategy keeps a place in the log, and reads on from there.

key         by the key, where that is a whole number that the log gives in growing order
rowid       by the number that the database itself gives each row (SQLite), or that a query selects as `rowid`
timestamp   by the time when a row was last changed, else when it was written
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from notifyd.model import Record
from notifyd.settings import SourceSettings
from notifyd.sources.batch import Batch
from notifyd.sources.changes import with_changes
from notifyd.sources.database import Kind, Row
from notifyd.sources.errors import SourceError
from notifyd.sources.keyset import MEND, Anchored, ByKey
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

    def read(self, log: SyncLog, place: Place, now: datetime, limit: int) -> Batch:
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
        by_key, tells_apart = relation.rowid != order, _tells_apart(settings)
        by_rowid = Anchored("rowid", relation.rowid, "rowid", identity, by_key=by_key, tells_apart=tells_apart)
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
    column = f'column "{key}"'
    if log.relation.writers is None:
        identity, tells_apart = _written(log, settings), _tells_apart(settings)
        return Anchored("key", order, column, identity, by_key=False, tells_apart=tells_apart)
    return ByKey(order, column, settings.gap_horizon)


def _written(log: SyncLog, settings: SourceSettings) -> str | None:
    """SQL for what a row keeps besides its number: its run, and when it was written. NULL where one is missing.

    Where neither is mapped, when it began and what it belongs to; never its end, which a rerun changes.
    """
    mapped = [name for name in _KEPT if getattr(settings.columns, name) is not None]
    fields = [name for name in mapped if name in _KEPT[:2]] or mapped
    texts = [log.database.text(sql, KEY_LIMIT) for name in fields if (sql := log.selection.plain(name))]
    return " || ' ' || ".join(texts) or None


def _tells_apart(settings: SourceSettings) -> bool:
    """Whether what a row keeps is hardly ever the same in another one: a schedule alone is."""
    return any(getattr(settings.columns, name) is not None for name in _KEPT[:3])
