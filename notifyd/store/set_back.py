"""The wall clock was set back: what was planned by the clock before would wait as much longer.

A hold stays, as it is until a time of day; so does a lease, which only a crash has to outlast.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from notifyd.model import rfc3339
from notifyd.store import rows
from notifyd.store.database import Database

_PLANNED = (
    ("deliveries", "due_at", "state IN ('gathering', 'pending', 'retrying') AND"),
    ("windows", "until", ""),
    ("lanes", "probe_at", ""),
    ("lanes", "held_until", ""),
)


def earlier(db: Database, by: timedelta, now: datetime) -> int:
    """Make everything that is planned for later than now due `by` as much earlier, but not before now. How much."""
    moment, moved = rfc3339(now), 0
    with db.transaction():
        for table, column, where in _PLANNED:
            found = db.run(f"SELECT {column}, rowid FROM {table} WHERE {where} {column} > ?", [moment])
            new = [(rfc3339(max(now, rows.moment(planned) - by)), rowid) for planned, rowid in found]
            moved += db.write_many(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", new)
    return moved
