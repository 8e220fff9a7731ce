"""Detection's memory of a source: loaded for what a batch touches, saved where it changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from notifyd.core.detect import Detected, Memory, RunKey, run_of, schedule_of
from notifyd.core.rules import Origin
from notifyd.model import Record, Run, Status, Streak, rfc3339
from notifyd.store import rows
from notifyd.store.database import Database

_RUNS = f"SELECT {', '.join('r.' + name for name in rows.RUN_FIELDS)} FROM"
_STREAKS = f"SELECT {', '.join('s.' + name for name in rows.STREAK_FIELDS)} FROM"
# CROSS JOIN looks up each of the keys; left to itself, SQLite compares every row of the table with each.
_KEYS = "json_each(?) k CROSS JOIN"


def load(
    db: Database,
    source_id: str,
    records: Iterable[Record],
    tick: datetime | None,
    origin: Origin,
    gone: Sequence[str] = (),
) -> Memory:
    """What the records and the keys that are gone touch and, where a tick follows, what is due by then.

    A few indexed look-ups.
    """
    schedules, runs = _touched(records, origin)
    memory = Memory(watched=watched(db, source_id))
    if schedules:
        _take(memory, _open_runs(db, source_id, schedules), _streaks(db, source_id, schedules))
    if runs:
        _take(memory, _known_runs(db, source_id, runs), [])
    if gone:
        _take_with_streaks(db, source_id, memory, _open_by_id(db, source_id, gone))
    if tick is not None:
        _load_due(db, source_id, memory, tick, origin)
    return memory


def watched(db: Database, source_id: str) -> dict[str, Status]:
    """The rows that were open when last read, by key."""
    found = db.run("SELECT key, status FROM watched WHERE source_id = ?", [source_id])
    return {rows.named(key): Status(status) for key, status in found}


def save(db: Database, source_id: str, detected: Detected, now: datetime) -> None:
    """Write what a fold changed. Only inside a transaction."""
    db.write_many(rows.INSERT_RUN, [rows.run_row(source_id, run) for run in detected.runs.values()])
    db.write_many(
        "DELETE FROM runs WHERE source_id = ? AND schedule = ? AND run_id = ?",
        [(source_id, rows.name(schedule), rows.name(run_id)) for schedule, run_id in detected.forgotten],
    )
    db.write_many(rows.INSERT_STREAK, [rows.streak_row(source_id, streak) for streak in detected.streaks.values()])
    ended = [(source_id, rows.name(key)) for key in detected.unwatch]
    db.write_many("DELETE FROM watched WHERE source_id = ? AND key = ?", ended)
    db.write_many(
        "INSERT OR REPLACE INTO watched (source_id, key, status, since) VALUES (?, ?, ?, ?)",
        [(source_id, rows.name(key), status.value, rfc3339(now)) for key, status in detected.watch.items()],
    )


def _touched(records: Iterable[Record], origin: Origin) -> tuple[set[str], set[RunKey]]:
    """The schedules and runs of the records. Whole runs that succeed need no look-up of the run itself."""
    names: dict[tuple[str | None, ...], str] = {}
    runs: set[RunKey] = set()
    for record in records:
        parts = (record.schedule_id, record.tenant_id, record.connector_id, record.entity_type)
        schedule = names.get(parts)
        if schedule is None:
            schedule = names[parts] = rows.name(schedule_of(record))
        runs.add((schedule, rows.name(run_of(record, origin))))
    return set(names.values()), runs


def _open_runs(db: Database, source_id: str, schedules: set[str]) -> list[Run]:
    sql = f"{_RUNS} {_KEYS} runs r ON r.schedule = k.value WHERE r.source_id = ? AND r.state = 'open'"
    return [rows.run_of(row) for row in db.run(sql, [json.dumps(list(schedules)), source_id])]


def _known_runs(db: Database, source_id: str, runs: set[RunKey]) -> list[Run]:
    sql = (
        f"{_RUNS} {_KEYS} runs r ON r.schedule = json_extract(k.value, '$[0]')"
        " AND r.run_id = json_extract(k.value, '$[1]')"
        " WHERE r.source_id = ?"
    )
    return [rows.run_of(row) for row in db.run(sql, [json.dumps(list(runs)), source_id])]


def _streaks(db: Database, source_id: str, schedules: set[str]) -> list[Streak]:
    sql = f"{_STREAKS} {_KEYS} streaks s ON s.schedule = k.value WHERE s.source_id = ?"
    return [rows.streak_of(row) for row in db.run(sql, [json.dumps(list(schedules)), source_id])]


def _open_by_id(db: Database, source_id: str, run_ids: Sequence[str]) -> list[Run]:
    sql = f"{_RUNS} {_KEYS} runs r ON r.run_id = k.value WHERE r.source_id = ? AND r.state = 'open'"
    return [rows.run_of(row) for row in db.run(sql, [json.dumps([*map(rows.name, run_ids)]), source_id])]


def _load_due(db: Database, source_id: str, memory: Memory, now: datetime, origin: Origin) -> None:
    """The runs whose time has come, the streaks of their schedules, and the reminders due."""
    sql = f"{_STREAKS} streaks s WHERE s.source_id = ? AND s.failed_since_told = 1 AND s.remind_at <= ?"
    _take(memory, [], [rows.streak_of(row) for row in db.run(sql, [source_id, rfc3339(now)])])
    _take_with_streaks(db, source_id, memory, _runs_due(db, source_id, now, origin))


def _runs_due(db: Database, source_id: str, now: datetime, origin: Origin) -> list[Run]:
    """Of records, the runs that have been quiet long enough to end; of whole runs, those that run too long."""
    if origin.rows == "records":
        due, moment = "r.last_read_at <= ?", now - origin.run_ends_after
    elif origin.stuck_after is not None:
        due, moment = "r.start_at <= ? AND r.stuck IS NULL", now - origin.stuck_after
    else:
        return []
    sql = f"{_RUNS} runs r WHERE r.source_id = ? AND r.state = 'open' AND {due}"
    return [rows.run_of(row) for row in db.run(sql, [source_id, rfc3339(moment)])]


def _take_with_streaks(db: Database, source_id: str, memory: Memory, runs: list[Run]) -> None:
    _take(memory, runs, [])
    if missing := {run.schedule for run in runs} - memory.streaks.keys():
        _take(memory, [], _streaks(db, source_id, set(map(rows.name, missing))))


def _take(memory: Memory, runs: Iterable[Run], streaks: Iterable[Streak]) -> None:
    memory.runs.update({(run.schedule, run.run_id): run for run in runs})
    memory.streaks.update({streak.schedule: streak for streak in streaks})
