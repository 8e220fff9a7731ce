"""What is old goes, in small batches; what is open, waiting or newly ended stays.

Whatever is removed is added to the books' `pruned`, so that they balance for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from notifyd.model import rfc3339
from notifyd.store import books, rows
from notifyd.store.database import Database

BATCH = 200
"""Rows of each kind per transaction: a few milliseconds, so that no poll or send waits for it."""

RUNS_REMEMBERED = timedelta(days=7)
"""How long after its last record a run that ended can still be failed by a late one, at the most."""

_UNTOLD_RUN = "state <> 'open' AND told = '' AND occurrence = 0"
"""One that was told stays for as long as its events do: should its row fail again, that has to have other ids."""

_MEMBERS = 5 * BATCH

_OPEN = (
    "SELECT announced FROM streaks WHERE announced IS NOT NULL"
    " UNION SELECT condition FROM cursors WHERE condition IS NOT NULL"
    " UNION SELECT condition FROM lanes WHERE condition IS NOT NULL"
    " UNION SELECT r.stuck FROM cursors CROSS JOIN runs r ON r.source_id = cursors.source_id AND r.state = 'open'"
    " WHERE r.stuck IS NOT NULL"
)
"""The conditions that are open: who was told of them must be known when they end."""

_TELLS_OPEN = (
    "EXISTS (SELECT 1 FROM verdicts v JOIN events told ON told.id = v.event_id WHERE v.delivery_id = d.id"
    " AND (told.id IN (SELECT value FROM json_each(?)) OR (told.event_type = 'consecutive_failures'"
    " AND told.condition IN (SELECT value FROM json_each(?)))))"
)


def prune(db: Database, now: datetime, retention: timedelta, audit_retention: timedelta) -> int:
    """One batch of each kind. How many rows went; 0 when nothing old is left."""
    cutoff = rfc3339(now - retention)
    with db.transaction():
        still_open = rows.dump([row[0] for row in db.run(_OPEN)])
        return (
            _prune_deliveries(db, cutoff, still_open)
            + _prune_events(db, cutoff, still_open)
            + _delete(db, "runs", f"{_UNTOLD_RUN} AND last_read_at < ?", rfc3339(now - RUNS_REMEMBERED))
            + _delete(db, "runs", "state <> 'open' AND last_read_at < ?", cutoff)
            + _delete(db, "windows", "until < ?", rfc3339(now - timedelta(days=1)))
            + _delete(db, "audit", _AMONG_THE_FIRST, rfc3339(now - audit_retention))
            + _prune_silent_schedules(db, cutoff)
        )


def _prune_deliveries(db: Database, cutoff: str, still_open: str) -> int:
    """Deliveries that ended before the cutoff: their members, and once none is left, themselves and their attempts."""
    old = db.run(
        "SELECT id, config_id FROM deliveries d WHERE state IN ('sent', 'dead', 'expired', 'cancelled')"
        f" AND finished_at < ? AND NOT {_TELLS_OPEN} LIMIT {BATCH}",
        [cutoff, still_open, still_open],
    )
    members = _prune_members(db, dict(old))
    ended = [(id_,) for id_, _ in old if not db.run("SELECT 1 FROM verdicts WHERE delivery_id = ? LIMIT 1", [id_])]
    db.write_many("DELETE FROM notification_history WHERE delivery_id = ?", ended)
    db.write_many("DELETE FROM deliveries WHERE id = ?", ended)
    return len(ended) + members


def _prune_members(db: Database, configs: Mapping[str, str]) -> int:
    """What deliveries told, as much as a batch takes: a digest may have a hundred thousand. `configs` by delivery."""
    found = db.run(
        f"SELECT v.rowid, v.delivery_id FROM json_each(?) k CROSS JOIN verdicts v ON v.delivery_id = k.value"
        f" LIMIT {_MEMBERS}",
        [rows.dump(list(configs))],
    )
    db.write_many("DELETE FROM verdicts WHERE rowid = ?", [(rowid,) for rowid, _ in found])
    members = Counter(delivery for _, delivery in found)
    db.write_many("UPDATE deliveries SET count = count - ? WHERE id = ?", [(n, id_) for id_, n in members.items()])
    pruned: Counter[str] = Counter()
    for delivery, number in members.items():
        pruned[configs[delivery]] += number
    for config, number in pruned.items():
        books.add(db, f"config:{config}", {"pruned": number})
    return len(found)


def _prune_events(db: Database, cutoff: str, still_open: str) -> int:
    """Events found before the cutoff that no delivery or hold needs, and that open nothing still open."""
    old = db.run(
        "SELECT e.id, e.source_id FROM events e WHERE e.found_at < ? AND NOT EXISTS (SELECT 1 FROM verdicts v"
        " WHERE v.event_id = e.id AND v.decided IN ('planned', 'held'))"
        " AND e.id NOT IN (SELECT value FROM json_each(?))"
        " AND (e.condition IS NULL OR e.condition NOT IN (SELECT value FROM json_each(?)))"
        f" ORDER BY e.found_at LIMIT {BATCH}",
        [cutoff, still_open, still_open],
    )
    ids = [(identity,) for identity, _ in old]
    db.write_many("DELETE FROM verdicts WHERE event_id = ?", ids)
    db.write_many("DELETE FROM events WHERE id = ?", ids)
    for source, count in Counter(source for _, source in old if source).items():
        books.add(db, f"source:{source}", {"events_pruned": count})
    return len(old)


_AMONG_THE_FIRST = f"id < (SELECT MIN(id) FROM audit) + {BATCH} AND at < ?"
"""The lines of the audit trail are in the order of time, so that only its beginning is looked at."""


def _prune_silent_schedules(db: Database, cutoff: str) -> int:
    """Schedules that were silent since the cutoff, failed in none of their last runs, and were never told as a streak.

    A log that names a schedule anew for each run would otherwise fill the state DB.
    """
    newest = "COALESCE(json_extract(outcomes, '$[#-1][0]'), touched)"
    silent = f"announced IS NULL AND number = 0 AND outcomes NOT LIKE '%true%' AND {newest}"
    return _delete(db, "streaks", f"{silent} < ?", cutoff)


def _delete(db: Database, table: str, condition: str, moment: str) -> int:
    ids: list[rows.Row] = db.run(f"SELECT rowid FROM {table} WHERE {condition} LIMIT {BATCH}", [moment])
    db.write_many(f"DELETE FROM {table} WHERE rowid = ?", ids)
    return len(ids)
