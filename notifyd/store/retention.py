"""What is old goes, in small batches; what is open, waiting or newly ended stays.

Whatever is removed is added to the books' `pruned`, so that they balance for ever.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from notifyd.model import rfc3339
from notifyd.store import books, rows
from notifyd.store.database import Database

BATCH = 500
"""Rows per transaction: a few milliseconds, so that no poll or send waits for it."""

RUNS_REMEMBERED = timedelta(days=7)
"""How long after its last record a run that ended can still be failed by a late one."""


def prune(db: Database, now: datetime, retention: timedelta, audit_retention: timedelta) -> int:
    """One batch of each kind. How many rows went; 0 when nothing old is left."""
    cutoff = rfc3339(now - retention)
    with db.transaction():
        return (
            _prune_deliveries(db, cutoff)
            + _prune_events(db, cutoff)
            + _delete(db, "runs", "state <> 'open' AND last_read_at < ?", rfc3339(now - RUNS_REMEMBERED))
            + _delete(db, "windows", "until < ?", rfc3339(now - timedelta(days=1)))
            + _delete(db, "audit", _AMONG_THE_FIRST, rfc3339(now - audit_retention))
        )


def _prune_deliveries(db: Database, cutoff: str) -> int:
    """Deliveries that ended before the cutoff, with their attempts and verdicts."""
    old = db.run(
        "SELECT id, config_id, count FROM deliveries WHERE state IN ('sent', 'dead', 'expired', 'cancelled')"
        f" AND finished_at < ? LIMIT {BATCH}",
        [cutoff],
    )
    pruned: Counter[str] = Counter()
    for _, config, count in old:
        pruned[config] += count
    ids = [(identity,) for identity, _, _ in old]
    for table in ("verdicts", "notification_history"):
        db.write_many(f"DELETE FROM {table} WHERE delivery_id = ?", ids)
    db.write_many("DELETE FROM deliveries WHERE id = ?", ids)
    for config, count in pruned.items():
        books.add(db, f"config:{config}", {"pruned": count})
    return len(old)


def _prune_events(db: Database, cutoff: str) -> int:
    """Events found before the cutoff that no delivery or hold needs, and that open no streak still open."""
    old = db.run(
        "SELECT e.id, e.source_id FROM events e WHERE e.found_at < ? AND NOT EXISTS (SELECT 1 FROM verdicts v"
        " WHERE v.event_id = e.id AND v.decided IN ('planned', 'held'))"
        " AND (e.condition IS NULL OR e.condition NOT IN (SELECT announced FROM streaks WHERE announced IS NOT NULL))"
        f" ORDER BY e.found_at LIMIT {BATCH}",
        [cutoff],
    )
    ids = [(identity,) for identity, _ in old]
    db.write_many("DELETE FROM verdicts WHERE event_id = ?", ids)
    db.write_many("DELETE FROM events WHERE id = ?", ids)
    for source, count in Counter(source for _, source in old if source).items():
        books.add(db, f"source:{source}", {"events_pruned": count})
    return len(old)


_AMONG_THE_FIRST = f"id < (SELECT MIN(id) FROM audit) + {BATCH} AND at < ?"
"""The lines of the audit trail are in the order of time, so that only its beginning is looked at."""


def _delete(db: Database, table: str, condition: str, moment: str) -> int:
    ids: list[rows.Row] = db.run(f"SELECT rowid FROM {table} WHERE {condition} LIMIT {BATCH}", [moment])
    db.write_many(f"DELETE FROM {table} WHERE rowid = ?", ids)
    return len(ids)
