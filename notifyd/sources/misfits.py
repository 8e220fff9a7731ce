"""What in the settings of a source does not fit its log, as the newest rows show: silence that nobody meant.

Nothing of this stops a source from being read, and each of it may cost news: a key that rows share, a path in JSON
that leads nowhere, a time that is none, rows that no read by time finds, an error query that fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from notifyd.model import Record, Status
from notifyd.settings import Column, format_duration
from notifyd.sources.database import Row
from notifyd.sources.documents import shown as as_it_is
from notifyd.sources.error_query import ErrorQuery
from notifyd.sources.errors import SourceError
from notifyd.sources.mapping import moment_of
from notifyd.sources.selection import KEY_LIMIT, TIMES
from notifyd.sources.sync_log import SCANNED, SyncLog

_LOOKED_AT: Final = 50  # rows, as each may cost a query of its own
_OF_A_FAILURE: Final = ("message", "error_type", "error_code")
_AHEAD: Final = timedelta(minutes=2)
_QUOTED: Final = 40


def misfits(log: SyncLog, order: str, *, by_time: bool, errors: ErrorQuery | None, now: datetime) -> Iterator[str]:
    """One line for each, with how to mend it. Raises SourceError where the log cannot be read."""
    yield from _shared_keys(log, order)
    if by_time:
        yield from _without_time(log, order)
    columns = dict(log.selection.columns)
    also = [log.selection.expression(column) for column in columns.values()]
    rows = log.newest(order, _LOOKED_AT, also=also)
    mapped = [(one, row) for row in rows if isinstance(one := log.mapping.record_or_aside(row, now), Record)]
    raw = [(one, dict(zip(columns, row[log.selection.width :], strict=True))) for one, row in mapped]
    for name, column in columns.items():
        yield from _yields_nothing(name, column, raw)
    yield from _ahead([one for one, _ in mapped], now)
    if errors is not None:
        yield from _error_query(errors, [one for one, _ in mapped])


def _shared_keys(log: SyncLog, order: str) -> Iterator[str]:
    counts = Counter(_key(row) for row in log.newest(order, SCANNED))
    key, times = next(iter(counts.most_common(1)), (None, 0))
    if key is not None and times > 1:
        yield (
            f'columns.key: {times} of the newest {counts.total()} rows share the key "{_quoted(key)}", so all but one '
            "are taken for a row that is known; map what no two rows share, such as an id, or a list of columns"
        )


def _key(row: Row) -> str | None:
    return row[1][:KEY_LIMIT] if row[1] else None


def _without_time(log: SyncLog, order: str) -> Iterator[str]:
    sql = f"SELECT 1 FROM {log.relation.sql} WHERE {order} IS NULL LIMIT 1"
    if log.database.read(sql, {}, list):
        column = order.removeprefix("t.")
        yield (
            f"{log.relation.name} has rows whose {column} is NULL: they are never read; map what every row has, "
            'such as { sql = "coalesce(updated_at, created_at)" }'
        )


def _yields_nothing(name: str, column: Column, rows: Sequence[tuple[Record, Mapping[str, Any]]]) -> Iterator[str]:
    """A path in JSON that leads nowhere in any row, or a time that cannot be read."""
    if name not in Record._fields or name in ("key", "status"):
        return
    failed = [(one, raw) for one, raw in rows if one.status is Status.FAILURE]
    looked_at = failed if name in _OF_A_FAILURE else rows
    there = [(one, raw[name]) for one, raw in looked_at if raw[name] is not None]
    if not there or any(getattr(one, name) is not None for one, _ in there):
        return
    what = f"the {'failures' if looked_at is failed else 'rows'} that were looked at"
    if column.json is not None:
        yield f'columns.{name}: the path "{column.json}" leads to nothing in any of {what}'
    elif name in TIMES:
        value = _quoted(str(as_it_is(there[0][1], _QUOTED)))
        yield (
            f'columns.{name}: "{value}" is not understood as a time, nor is that of any of {what}; '
            "map one that is, or have SQL make one: { sql = … }"
        )


def _ahead(records: Sequence[Record], now: datetime) -> Iterator[str]:
    ahead = max((moment - now for one in records if (moment := moment_of(one))), default=timedelta())
    if ahead > _AHEAD:
        shown = format_duration(timedelta(seconds=round(ahead.total_seconds())))
        yield f"its newest row is {shown} in our future: its times are of another `timezone`, or a clock is wrong"


def _error_query(errors: ErrorQuery, records: Sequence[Record]) -> Iterator[str]:
    """Tried on a failure, where there is one; whether it can be run at all, any row shows."""
    tried = next((one for one in records if one.status is Status.FAILURE), next(iter(records), None))
    if tried is None:
        return
    try:
        errors.find(tried)
    except SourceError as error:
        yield errors.said(error)


def _quoted(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 1]}…"
