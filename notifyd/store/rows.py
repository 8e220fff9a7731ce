"""Between the frozen values and the rows of the tables; nothing else knows how a value is written."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, overload

from notifyd.core.plan import Decision, NewDelivery
from notifyd.model import (
    Closes,
    Event,
    EventType,
    Finding,
    Position,
    Run,
    RunOutcome,
    RunState,
    Severity,
    Status,
    Streak,
    Watch,
    rfc3339,
)

Row = tuple[Any, ...]

EVENT_FIELDS = (
    "id", "event_type", "severity", "title", "message", "connector_id", "entity_type", "error_type", "tenant_id",
    "schedule_id",
    "run_id", "source", "details", "suggested_actions", "timestamp", "closes_id", "closes_type",
)  # fmt: skip

INSERT_EVENT = (
    f"INSERT INTO events ({', '.join(EVENT_FIELDS)}, found_at, source_id, schedule, record_key, condition, untold)"
    f" VALUES ({', '.join('?' * (len(EVENT_FIELDS) + 6))})"
)
INSERT_VERDICT = (
    "INSERT INTO verdicts (event_id, config_id, decided, reason, delivery_id, until) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (event_id, config_id) DO UPDATE SET decided = excluded.decided, reason = excluded.reason,"
    " delivery_id = excluded.delivery_id, until = excluded.until"
)
INSERT_DELIVERY = (
    "INSERT INTO deliveries (id, config_id, group_key, state, reason, due_at, count, closing, attempts, plan_from,"
    " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?)"
)
RUN_FIELDS = (
    "source_id", "schedule", "run_id", "start_at", "start_key", "end_at", "end_key", "last_read_at", "state", "neutral",
    "failures", "told", "occurrence", "stuck", "beat", "epoch",
)  # fmt: skip
INSERT_RUN = f"INSERT OR REPLACE INTO runs ({', '.join(RUN_FIELDS)}) VALUES ({', '.join('?' * len(RUN_FIELDS))})"
STREAK_FIELDS = (
    "source_id", "schedule", "outcomes", "newest_start", "number", "announced", "announced_at", "failed_runs", "since",
    "failed_since_told", "reminders", "remind_at", "connector_id", "entity_type", "tenant_id", "schedule_id", "touched",
    "last_error",
)  # fmt: skip
INSERT_STREAK = (
    f"INSERT OR REPLACE INTO streaks ({', '.join(STREAK_FIELDS)}) VALUES ({', '.join('?' * len(STREAK_FIELDS))})"
)
WATCH_FIELDS = (
    "source_id", "key", "status", "since", "schedule", "run_id", "until", "started", "finished", "epoch",
)  # fmt: skip
INSERT_WATCH = (
    f"INSERT OR REPLACE INTO watched ({', '.join(WATCH_FIELDS)}) VALUES ({', '.join('?' * len(WATCH_FIELDS))})"
)


def event_row(finding: Finding, source_id: str | None, found_at: str, *, untold: bool) -> Row:
    """A row for INSERT_EVENT."""
    e = finding.event
    return (
        e.id, e.event_type.value, e.severity.value, clean(e.title), clean(e.message), clean(e.connector_id),
        clean(e.entity_type),
        clean(e.error_type), clean(e.tenant_id), clean(e.schedule_id), clean(e.run_id), e.source,
        dump({clean(key): clean(value) for key, value in e.details.items()}),
        dump(e.suggested_actions), rfc3339(e.timestamp), e.closes.id if e.closes else None,
        e.closes.event_type if e.closes else None,
        found_at, source_id, clean(finding.schedule), clean(finding.record_key), finding.condition, untold,
    )  # fmt: skip


def event_of(row: Sequence[Any]) -> Event:
    """The event of a row that begins with EVENT_FIELDS."""
    closes = Closes(row[15], row[16]) if row[15] else None
    return Event(
        id=row[0], event_type=EventType(row[1]), severity=Severity(row[2]), title=row[3], message=row[4],
        connector_id=row[5],
        entity_type=row[6], error_type=row[7], tenant_id=row[8], schedule_id=row[9], run_id=row[10], source=row[11],
        details=json.loads(row[12]), suggested_actions=tuple(json.loads(row[13])), timestamp=moment(row[14]),
        closes=closes,
    )  # fmt: skip


def verdict_row(decision: Decision) -> Row:
    """A row for INSERT_VERDICT."""
    d, until = decision, text(decision.until)
    return (d.event_id, d.config_id, d.decided.value, clean(d.reason), d.delivery_id, until)


def delivery_row(delivery: NewDelivery, closing: bool, created_at: str) -> Row:
    """A row for INSERT_DELIVERY."""
    state = "gathering" if delivery.gathering else "pending"
    due = rfc3339(delivery.due_at)
    return (
        delivery.id, delivery.config_id, delivery.group_key, state, delivery.reason.value, due, delivery.count,
        closing, created_at,
    )  # fmt: skip


def run_row(source_id: str, run: Run) -> Row:
    """A row for INSERT_RUN."""
    return (
        source_id, name(run.schedule), name(run.run_id), rfc3339(run.start.at), name(run.start.key),
        rfc3339(run.end.at),
        name(run.end.key), rfc3339(run.last_read_at), run.state.value, run.neutral, run.failures,
        ",".join(run.told), run.occurrence, run.stuck, text(run.beat), run.epoch,
    )  # fmt: skip


def run_of(row: Sequence[Any]) -> Run:
    """The run of a row of RUN_FIELDS."""
    return Run(
        schedule=named(row[1]), run_id=named(row[2]), start=Position(moment(row[3]), named(row[4])),
        end=Position(moment(row[5]), named(row[6])), last_read_at=moment(row[7]), state=RunState(row[8]),
        neutral=bool(row[9]), failures=row[10],
        told=tuple(row[11].split(",")) if row[11] else (), occurrence=row[12], stuck=row[13],
        beat=moment(row[14]), epoch=row[15],
    )  # fmt: skip


def streak_row(source_id: str, s: Streak) -> Row:
    """A row for INSERT_STREAK."""
    outcomes = [[rfc3339(o.position.at), o.position.key, o.run_id, o.failed] for o in s.outcomes]
    newest = dump([rfc3339(s.newest_start.at), s.newest_start.key]) if s.newest_start else None
    return (
        source_id, name(s.schedule), dump(outcomes), newest, s.number, s.announced, text(s.announced_at),
        s.failed_runs,
        text(s.since), s.failed_since_told, s.reminders, text(s.remind_at), clean(s.connector_id),
        clean(s.entity_type),
        clean(s.tenant_id), clean(s.schedule_id), text(s.touched),
        clean(s.last_error),
    )  # fmt: skip


def streak_of(row: Sequence[Any]) -> Streak:
    """The streak of a row of STREAK_FIELDS."""
    newest = json.loads(row[3]) if row[3] else None
    return Streak(
        schedule=named(row[1]),
        outcomes=tuple(RunOutcome(Position(moment(at), key), run, bool(n)) for at, key, run, n in json.loads(row[2])),
        newest_start=Position(moment(newest[0]), newest[1]) if newest else None,
        number=row[4], announced=row[5], announced_at=moment(row[6]), failed_runs=row[7], since=moment(row[8]),
        failed_since_told=bool(row[9]), reminders=row[10], remind_at=moment(row[11]), connector_id=row[12],
        entity_type=row[13],
        tenant_id=row[14], schedule_id=row[15], touched=moment(row[16]),
        last_error=row[17],
    )  # fmt: skip


def watch_row(source_id: str, key: str, w: Watch) -> Row:
    """A row for INSERT_WATCH."""
    run = (None, None) if w.schedule is None or w.run_id is None else (name(w.schedule), name(w.run_id))
    times = text(w.until), text(w.started), text(w.finished)
    return (source_id, name(key), w.status.value, rfc3339(w.since), *run, *times, w.epoch)


def watch_of(row: Sequence[Any]) -> tuple[str, Watch]:
    """The key and the watch of a row of WATCH_FIELDS."""
    _, key, status, since, schedule, run_id, until, started, finished, epoch = row
    return named(key), Watch(
        Status(status), moment(since), None if schedule is None else named(schedule),
        None if run_id is None else named(run_id), moment(until), moment(started), moment(finished), epoch,
    )  # fmt: skip


@overload
def moment(value: str) -> datetime: ...
@overload
def moment(value: str | None) -> datetime | None: ...
def moment(value: str | None) -> datetime | None:
    """The time of a text column."""
    return None if value is None else datetime.fromisoformat(value)


def text(value: datetime | None) -> str | None:
    """The text of a time, for a column that may be null."""
    return None if value is None else rfc3339(value)


@overload
def clean(value: str) -> str: ...
@overload
def clean(value: str | None) -> str | None: ...
def clean(value: str | None) -> str | None:
    """Text that every database takes: lone surrogates and NUL are replaced."""
    if value is None or (value.isprintable() and value.isascii()):
        return value
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def name(value: str) -> str:
    """A name that has to come back as it was: as it is where every database takes it, else as JSON."""
    plain = (value.isascii() and value.isprintable()) or value == clean(value)
    return value if plain and not value.startswith('"') else dump(value)


def names(values: Collection[str]) -> Iterable[str]:
    """The same of many, which mostly are as they are."""
    together = "".join(values)
    plain = together.isascii() and together.isprintable() and '"' not in together
    return values if plain else map(name, values)


def named(value: str) -> str:
    """The name of a text that `name` wrote."""
    return str(json.loads(value)) if value.startswith('"') else value


def dump(value: Any) -> str:
    """Compact JSON. ASCII only, so that no text in it can fail to be written."""
    return json.dumps(value, separators=(",", ":"))
