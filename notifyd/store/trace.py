"""What the state DB knows of one key: events, the verdict of each config, deliveries, and every attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from notifyd.model import Event, Run
from notifyd.store import rows
from notifyd.store.database import Database
from notifyd.store.reads import NAME_OF_CONFIG, Attempt, Delivery, SetAside, attempts_of, delivery, snapshot

EVENTS_SHOWN = 20
"""The most events of one key that are traced; the rest are counted."""

NEWEST_SHOWN = 5
"""The newest events of a schedule that are traced."""

What = Literal["delivery", "event", "row", "run", "schedule"]


@dataclass(frozen=True, slots=True)
class ConfigVerdict:
    """What was decided about one event for one config, and what came of it."""

    config_id: str
    config_name: str
    decided: str
    reason: str
    until: datetime | None
    delivery: Delivery | None
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class EventTrace:
    """An event, where it was found, and what each config was told of it."""

    event: Event
    found_at: datetime
    source_id: str | None
    schedule: str | None
    record_key: str | None
    condition: str | None
    untold: bool
    verdicts: tuple[ConfigVerdict, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything that one key leads to. `more` counts the events that are not among `events`."""

    what: What
    events: tuple[EventTrace, ...]
    more: int = 0
    delivery: Delivery | None = None
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What is known of a row that gave no event of its own. `run_events` are those of its run."""

    set_aside: SetAside | None
    watched_since: datetime | None
    run: Run | None
    run_events: tuple[EventTrace, ...]


def trace(db: Database, key: str, source_id: str | None = None) -> Trace | None:
    """What the key of a delivery, an event, a row or a run leads to; None where nothing was found.

    `source_id` keeps to the rows and runs of one source: two sources may use the same keys.
    """
    key = rows.clean(key)
    with snapshot(db):
        return _of_delivery(db, key) or _of_event(db, key) or _of_row(db, key, source_id) or _of_run(db, key, source_id)


def of_schedule(db: Database, source: str, schedule: str) -> Trace:
    """The newest events of a schedule. It looks through all of its source's: for a person, not for a loop."""
    found = _Found("e.source_id = ? AND e.schedule = ?", [source, rows.clean(schedule)])
    with snapshot(db):
        events = _events(db, found, most=NEWEST_SHOWN, newest=True)
        return Trace("schedule", events, _count(db, found) - len(events))


def row_facts(db: Database, source_id: str, key: str, schedule: str, run_id: str) -> RowFacts:
    """What is known of a row, by its key, its schedule and its run."""
    in_memory = [source_id, rows.name(schedule), rows.name(run_id)]
    of_watched = [source_id, rows.name(key)]
    key, schedule, run_id = rows.clean(key), rows.clean(schedule), rows.clean(run_id)
    with snapshot(db):
        watched = db.run("SELECT since FROM watched WHERE source_id = ? AND key = ?", of_watched)
        in_run = _Found(
            "e.source_id = ? AND e.schedule = ? AND (e.run_id = ? OR (e.run_id IS NULL AND e.record_key = ?))",
            [source_id, schedule, run_id, run_id],
        )
        return RowFacts(
            set_aside=set_aside(db, source_id, key),
            watched_since=rows.moment(watched[0][0]) if watched else None,
            run=_run(db, in_memory),
            run_events=_events(db, in_run),
        )


def set_aside(db: Database, source_id: str, key: str) -> SetAside | None:
    """Why a row was set aside; None where it was not, or so long ago that it is only counted."""
    sql = "SELECT key, text, at FROM set_aside WHERE source_id = ? AND key = ? ORDER BY id DESC LIMIT 1"
    found = db.run(sql, [source_id, rows.clean(key)])
    return next((SetAside(key, text, rows.moment(at)) for key, text, at in found), None)


# -- by kind of key ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """Which events: a condition on `events e`, and its values."""

    where: str
    values: Sequence[Any]


def _of_delivery(db: Database, key: str) -> Trace | None:
    found = delivery(db, key)
    if found is None:
        return None
    members = _Found("e.id IN (SELECT v.event_id FROM verdicts v WHERE v.delivery_id = ?)", [key])
    events = _events(db, members, config_id=found.config_id)
    return Trace("delivery", events, _count(db, members) - len(events), found, tuple(attempts_of(db, key)))


def _of_event(db: Database, key: str) -> Trace | None:
    events = _events(db, _Found("e.id = ?", [key]))
    return Trace("event", events) if events else None


def _of_row(db: Database, key: str, source_id: str | None) -> Trace | None:
    """The row's own events, then those about its run as a whole: a streak, a recovery."""
    own = _Found(*_within("e.record_key = ?", key, source_id))
    runs = db.run(
        f"SELECT DISTINCT e.source_id, e.schedule, COALESCE(e.run_id, ?) FROM events e WHERE {own.where}",
        [key, *own.values],
    )
    if not runs:
        return None
    whole_run = "(e.record_key IS NULL AND e.source_id = ? AND e.schedule = ? AND e.run_id = ?)"
    where = " OR ".join([own.where, *[whole_run] * len(runs)])
    return _trace(db, "row", _Found(where, [*own.values, *(value for run in runs for value in run)]))


def _of_run(db: Database, key: str, source_id: str | None) -> Trace | None:
    run = _Found(*_within("e.run_id = ?", key, source_id))
    return _trace(db, "run", run) if _count(db, run) else None


def _trace(db: Database, what: What, found: _Found) -> Trace:
    events = _events(db, found)
    return Trace(what, events, _count(db, found) - len(events))


def _within(condition: str, key: str, source_id: str | None) -> tuple[str, list[str]]:
    return (condition, [key]) if source_id is None else (f"({condition} AND e.source_id = ?)", [key, source_id])


# -- rows --------------------------------------------------------------------------------------------

_EVENT = ", ".join("e." + name for name in rows.EVENT_FIELDS)
_WHERE_FOUND = "e.found_at, e.source_id, e.schedule, e.record_key, e.condition, e.untold"


def _count(db: Database, found: _Found) -> int:
    count: int = db.run(f"SELECT COUNT(*) FROM events e WHERE {found.where}", found.values)[0][0]
    return count


def _events(
    db: Database, found: _Found, config_id: str | None = None, *, most: int = EVENTS_SHOWN, newest: bool = False
) -> tuple[EventTrace, ...]:
    """The first events that are found, or the `newest` first, with the verdicts of all configs or of one."""
    order = "DESC" if newest else "ASC"
    sql = f"SELECT {_EVENT}, {_WHERE_FOUND} FROM events e WHERE {found.where} ORDER BY e.seq {order} LIMIT {most}"
    return tuple(_event_trace(db, row, config_id) for row in db.run(sql, found.values))


def _event_trace(db: Database, row: Sequence[Any], config_id: str | None) -> EventTrace:
    event, width = rows.event_of(row), len(rows.EVENT_FIELDS)
    found_at, source_id, schedule, record_key, condition, untold = row[width:]
    verdicts = [v for v in _verdicts(db, event.id) if config_id in (None, v.config_id)]
    found = rows.moment(found_at)
    return EventTrace(event, found, source_id, schedule, record_key, condition, bool(untold), tuple(verdicts))


def _verdicts(db: Database, event_id: str) -> list[ConfigVerdict]:
    found = db.run(
        f"SELECT v.config_id, {NAME_OF_CONFIG.format('v.config_id')}, v.decided, v.reason, v.until, v.delivery_id"
        " FROM verdicts v WHERE v.event_id = ? ORDER BY 2",
        [event_id],
    )
    return [_verdict(db, row) for row in found]


def _verdict(db: Database, row: Sequence[Any]) -> ConfigVerdict:
    config_id, name, decided, reason, until, delivery_id = row
    sent = delivery(db, delivery_id) if delivery_id else None
    attempts = tuple(attempts_of(db, delivery_id)) if delivery_id else ()
    return ConfigVerdict(config_id, name, decided, reason, rows.moment(until), sent, attempts)


def _run(db: Database, names: Sequence[str]) -> Run | None:
    fields = ", ".join(rows.RUN_FIELDS)
    sql = f"SELECT {fields} FROM runs WHERE source_id = ? AND schedule = ? AND run_id = ?"
    return next((rows.run_of(row) for row in db.run(sql, names)), None)
