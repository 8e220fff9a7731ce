"""Detection's memory of a source: loaded for what a batch touches, saved where it changed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from notifyd.core.memory import Detected, Memory, RunKey
from notifyd.core.rules import Origin
from notifyd.core.runs import run_of, schedule_name
from notifyd.model import Record, Run, Streak, Watch, rfc3339
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
    watching: Mapping[str, Watch] | None = None,
) -> Memory:
    """What the records and the keys that are gone touch and, where a tick follows, what is due by then.

    A few indexed look-ups. `watching` are the watched rows, where they are known already.
    """
    memory = Memory(watched=dict(watched(db, source_id) if watching is None else watching))
    runs = _touched(records, origin)
    for schedule, run_id in _runs_of_rows(memory.watched, records, gone):
        runs.setdefault(schedule, set()).add(run_id)
    if runs:
        _take(memory, _open_runs(db, source_id, runs.keys()), _streaks(db, source_id, runs.keys()))
        _take(memory, _known_runs(db, source_id, runs), [])
    if tick is not None:
        _load_due(db, source_id, memory, tick, origin)
    return memory


def watched(db: Database, source_id: str) -> dict[str, Watch]:
    """The watched rows, by key, in the order in which they came to their state."""
    found = db.run(
        f"SELECT {', '.join(rows.WATCH_FIELDS)} FROM watched WHERE source_id = ? ORDER BY rowid", [source_id]
    )
    return dict(map(rows.watch_of, found))


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
    db.write_many(rows.INSERT_WATCH, [rows.watch_row(source_id, key, watch) for key, watch in detected.watch.items()])
    db.run("DELETE FROM watched WHERE source_id = ? AND until <= ?", [source_id, rfc3339(now)])


def _touched(records: Iterable[Record], origin: Origin) -> dict[str, set[str]]:
    """The schedules of the records, and the runs of each."""
    runs: dict[tuple[str | None, ...], list[str]] = {}
    whole = origin.rows == "runs"
    for record in records:
        parts = (record.schedule_id, record.tenant_id, record.connector_id, record.entity_type)
        mine = runs.get(parts)
        if mine is None:
            mine = runs[parts] = []
        mine.append(record.key if whole else run_of(record, origin))
    schedules = dict[str, set[str]]()
    for (schedule, tenant, connector, entity), mine in runs.items():
        named = rows.name(schedule_name(schedule, tenant, connector, entity))
        schedules.setdefault(named, set()).update(rows.names(mine))
    return schedules


def _runs_of_rows(watched: Mapping[str, Watch], records: Iterable[Record], gone: Iterable[str]) -> Iterable[RunKey]:
    """The runs that watched rows belonged to: where one is gone, or another has its key now, its run has ended."""
    for key in (*gone, *(record.key for record in records if record.key in watched)):
        watch = watched.get(key)
        if watch is not None and watch.schedule is not None and watch.run_id is not None:
            yield rows.name(watch.schedule), rows.name(watch.run_id)


def _open_runs(db: Database, source_id: str, schedules: Collection[str]) -> list[Run]:
    sql = f"{_RUNS} {_KEYS} runs r ON r.schedule = k.value WHERE r.source_id = ? AND r.state = 'open'"
    return [rows.run_of(row) for row in db.run(sql, [json.dumps(list(schedules)), source_id])]


def _known_runs(db: Database, source_id: str, runs: Mapping[str, Iterable[str]]) -> list[Run]:
    sql = (
        f"{_RUNS} json_each(?) s, json_each(s.value) k CROSS JOIN runs r ON r.schedule = s.key AND r.run_id = k.value"
        " WHERE r.source_id = ?"
    )
    names = {schedule: list(run_ids) for schedule, run_ids in runs.items()}
    return [rows.run_of(row) for row in db.run(sql, [json.dumps(names), source_id])]


def _streaks(db: Database, source_id: str, schedules: Collection[str]) -> list[Streak]:
    sql = f"{_STREAKS} {_KEYS} streaks s ON s.schedule = k.value WHERE s.source_id = ?"
    return [rows.streak_of(row) for row in db.run(sql, [json.dumps(list(schedules)), source_id])]


_REMINDERS = "streaks s WHERE s.source_id = ? AND s.failed_since_told = 1 AND s.remind_at <= ?"
_SILENT = "streaks s WHERE s.source_id = ? AND s.touched <= ? AND s.outcomes <> '[]'"
_QUIET = "runs r WHERE r.source_id = ? AND r.state = 'open' AND r.last_read_at <= ?"
_STUCK = (
    "runs r WHERE r.source_id = ? AND r.state = 'open' AND MAX(r.start_at, COALESCE(r.beat, '')) <= ?"
    " AND r.stuck IS NULL"
)


def _load_due(db: Database, source_id: str, memory: Memory, now: datetime, origin: Origin) -> None:
    """The runs whose time has come, the streaks of their schedules, and the reminders due."""
    due = {what: [source_id, rfc3339(moment)] for what, moment in _moments(now, origin).items()}
    if not _any(db, due):
        return
    _take(memory, [], [rows.streak_of(row) for row in db.run(f"{_STREAKS} {_REMINDERS}", due[_REMINDERS])])
    if _SILENT in due:
        _take_silent(db, source_id, memory, due[_SILENT])
    for what in due.keys() & {_QUIET, _STUCK}:
        _take_with_streaks(db, source_id, memory, [rows.run_of(row) for row in db.run(f"{_RUNS} {what}", due[what])])


def _moments(now: datetime, origin: Origin) -> dict[str, datetime]:
    """What may be due, and what its time has to be for that: of records, the runs that have been quiet long enough to
    end; of whole runs, those that run too long."""
    moments = {_REMINDERS: now}
    if origin.forget_after is not None:
        moments[_SILENT] = now - origin.forget_after
    if origin.rows == "records":
        moments[_QUIET] = now - origin.run_ends_after
    elif origin.stuck_after is not None:
        moments[_STUCK] = now - origin.stuck_after
    return moments


def _any(db: Database, due: Mapping[str, Sequence[str]]) -> bool:
    """Whether any of it is there. Most of the time nothing is, and this is all that it costs."""
    anything = " OR ".join(f"EXISTS (SELECT 1 FROM {what})" for what in due)
    return bool(db.run(f"SELECT {anything}", [value for values in due.values() for value in values])[0][0])


def _take_silent(db: Database, source_id: str, memory: Memory, due: Sequence[str]) -> None:
    """The schedules that have not run since then and are remembered, with their open runs."""
    streaks = [rows.streak_of(row) for row in db.run(f"{_STREAKS} {_SILENT}", due)]
    _take(memory, _open_runs(db, source_id, {rows.name(s.schedule) for s in streaks}) if streaks else [], streaks)


def _take_with_streaks(db: Database, source_id: str, memory: Memory, runs: list[Run]) -> None:
    _take(memory, runs, [])
    if missing := {run.schedule for run in runs} - memory.streaks.keys():
        _take(memory, [], _streaks(db, source_id, set(map(rows.name, missing))))


def _take(memory: Memory, runs: Iterable[Run], streaks: Iterable[Streak]) -> None:
    memory.runs.update({(run.schedule, run.run_id): run for run in runs})
    memory.streaks.update({streak.schedule: streak for streak in streaks})
