"""`notifyd why`: row → event → verdicts → deliveries → attempts, on one screen, and where that chain ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from notifyd.cli import records
from notifyd.cli.answer import Answer, FoundRow, answer
from notifyd.cli.options import named, read_settings
from notifyd.cli.output import Cell, count, heading, local, print_fields, print_json, print_table, say, took
from notifyd.clock import utc_now
from notifyd.errors import NotifydError
from notifyd.model import rfc3339
from notifyd.store import reads
from notifyd.store.database import Database
from notifyd.store.reads import Attempt, Delivery
from notifyd.store.trace import ConfigVerdict, EventTrace
from notifyd.store.waiting import Waits, waits_for


def why(path: Path, key: str, source: str | None, *, as_json: bool) -> None:
    """Show everything that a key leads to. Raises NotifydError where that is nothing."""
    settings = read_settings(path)
    only = named(settings, source) if source is not None else None
    with reads.opened(settings.daemon.state) as db:
        found = answer(db, settings, key, only)
        waits = _waits(db, found, settings.daemon.max_notifications_per_minute)
        where = db.path
    if as_json:
        print_json(_json(found, waits))
    else:
        _show(found, waits)
    if not (found.trace or found.rows or found.notes or found.schedules):
        names = ", ".join(each.name for each in settings.sources if only in (None, each)) or "no source"
        takes = "it takes the key of a row, or the id of a run, a schedule, an event or a delivery"
        raise NotifydError(f"nothing is known of {key}: not in the state DB {where}, and not at {names}; {takes}")


Waiting = Mapping[str, Waits]
"""What deliveries wait for, by their ids."""


def _waits(db: Database, found: Answer, most_per_minute: int | None) -> Waiting:
    own = [found.trace.delivery] if found.trace and found.trace.delivery else []
    others = [verdict.delivery for event in found.events for verdict in event.verdicts if verdict.delivery]
    deliveries = {delivery.id: delivery for delivery in (*own, *others)}
    waits = {each.id: waits_for(db, each, utc_now(), most_per_minute) for each in deliveries.values()}
    return {identity: wait for identity, wait in waits.items() if wait}


# -- for people --------------------------------------------------------------------------------------


def _show(found: Answer, waits: Waiting) -> None:
    if len(found.rows) > 1:
        _show_rows(found.rows)
    for row in found.rows if len(found.rows) == 1 else []:
        _show_row(row)
    for note in found.notes:
        say(note)
    _show_schedules(found)
    if found.trace and found.trace.delivery:
        _show_delivery(found.trace.delivery, found.trace.attempts, waits)
    for event in found.events:
        _show_event(event, waits)
    if found.trace and found.trace.more:
        say(f"… and {found.trace.more} more events")
    _show_attempts(found)


def _show_row(row: FoundRow) -> None:
    """The row; where its event repeats all of it, only what it is."""
    heading(f"Row {row.record.key} of source {row.source}: {row.record.status}")
    if row.explanation:
        print_fields({**records.fields(row.record), "so": row.explanation})


def _show_rows(rows: list[FoundRow]) -> None:
    """The rows of a run: how many came to what."""
    counts = Counter((row.record.status.value, row.explanation or "it gave an event: see below") for row in rows)
    heading(f"{len(rows)} rows of source {' and '.join(sorted({row.source for row in rows}))}")
    print_table(("status", "rows", "so"), [(status, number, why) for (status, why), number in counts.most_common()])


_SCHEDULE_COLUMNS = ("source", "schedule", "connector", "entity", "tenant", "failed runs", "since", "told as")


def _show_schedules(found: Answer) -> None:
    """How it fares, and that its newest events follow; of several, each."""
    cells = [
        [
            each.source, records.named(each.schedule), each.connector_id, each.entity_type, each.tenant_id,
            each.failed_runs, each.since, each.announced,
        ]
        for each in found.schedules
    ]  # fmt: skip
    print_table(_SCHEDULE_COLUMNS, cells, title=f"{count(len(cells), 'schedule')} of that name, and how each fares")
    if found.trace and found.trace.what == "schedule":
        say("" if found.events else "it told nothing that is still kept")


def _show_event(found: EventTrace, waits: Waiting) -> None:
    event = found.event
    heading(f"Event {event.id}: {event.title}")
    print_fields(
        {
            "what": _joined(event.event_type, event.severity.value, event.error_type),
            "when": f"{local(event.timestamp)}, found {local(found.found_at)}",
            "where": _where(found),
            "message": event.message,
            "closes": event.closes.id if event.closes else None,
            "streak": found.condition if found.condition != event.id else None,
            "told": "to nobody: every config dropped it" if found.untold else None,
        }
    )
    print_table(
        ("config", "decided", "why", "delivery", "state"),
        map(_verdict_cells, found.verdicts),
        empty="  there was no config to tell",
    )
    for delivery in [verdict.delivery for verdict in found.verdicts if verdict.delivery]:
        if why := _why_not_sent(delivery, waits):
            say(f"  {delivery.config_name}: {why}")


def _why_not_sent(delivery: Delivery, waits: Waiting) -> str | None:
    """Why it ended without being sent, or what it waits for beside its time."""
    if delivery.state in ("dead", "expired", "cancelled"):
        return f"{delivery.state}: {delivery.error}" if delivery.error else None
    return f"it waits, as {_written(waits[delivery.id])}" if delivery.id in waits else None


def _written(waits: Waits) -> str:
    return f"{waits.what}; not before {local(waits.until)}" if waits.until else waits.what


def _where(found: EventTrace) -> str | None:
    """Where in which log it was found; None for what comes from none."""
    places = {"source": found.event.source, "row": found.record_key, "run": found.event.run_id}
    schedule = f"schedule {records.named(found.schedule)}" if found.schedule else None
    return _joined(*(f"{name} {place}" for name, place in places.items() if place), schedule)


def _joined(*parts: str | None) -> str | None:
    return " · ".join(filter(None, parts)) or None


def _verdict_cells(verdict: ConfigVerdict) -> tuple[Cell, ...]:
    until = f" (until {local(verdict.until)})" if verdict.until and " until " not in verdict.reason else ""
    delivery = verdict.delivery
    state = _state(delivery) if delivery else None
    return (
        verdict.config_name,
        verdict.decided,
        f"{verdict.reason}{until}",
        delivery.id if delivery else None,
        state,
    )


def _state(delivery: Delivery) -> str:
    """A delivery's state, and when it will move where it waits."""
    waits = delivery.state in ("gathering", "pending", "retrying")
    return f"{delivery.state}, due {local(delivery.due_at)}" if waits else delivery.state


def _show_delivery(delivery: Delivery, attempts: Iterable[Attempt], waits: Waiting) -> None:
    heading(f"Delivery {delivery.id} to {delivery.config_name}")
    print_fields(
        {
            "state": _state(delivery),
            "reason": delivery.reason,
            "events": delivery.count,
            "created": delivery.created_at,
            "ended": delivery.finished_at,
            "attempts": len(list(attempts)),
            "error": delivery.error,
            "waits, as": _written(waits[delivery.id]) if delivery.id in waits else None,
        }
    )


def _show_attempts(found: Answer) -> None:
    print_table(
        ("started", "config", "delivery", "try", "result", "HTTP", "took", "error"),
        map(_attempt_cells, _attempts(found)),
        title="Attempts",
    )


def _attempts(found: Answer) -> list[Attempt]:
    """Every attempt at every delivery, once, in the order of time."""
    own = found.trace.attempts if found.trace else ()
    verdicts = [verdict for event in found.events for verdict in event.verdicts]
    attempts = {attempt.id: attempt for attempt in (*own, *(a for v in verdicts for a in v.attempts))}
    return sorted(attempts.values(), key=lambda attempt: attempt.id)


def _attempt_cells(attempt: Attempt) -> tuple[Cell, ...]:
    return (
        attempt.started_at, attempt.config_name, attempt.delivery_id, attempt.attempt, attempt.result or "under way",
        attempt.status_code, took(attempt.duration_ms), attempt.error,
    )  # fmt: skip


# -- for programs ------------------------------------------------------------------------------------


def _json(found: Answer, waits: Waiting) -> dict[str, Any]:
    trace = found.trace
    return {
        "key": found.key,
        "what": trace.what if trace else "row" if found.rows else None,
        "schedules": [reads.as_json(each) for each in found.schedules],
        "rows": [
            {"source": row.source, **records.record_json(row.record), "explanation": row.explanation}
            for row in found.rows
        ],
        "delivery": _delivery_json(trace.delivery, trace.attempts, waits) if trace and trace.delivery else None,
        "events": [_event_json(event, waits) for event in found.events],
        "more": trace.more if trace else 0,
        "notes": found.notes,
    }


def _event_json(found: EventTrace, waits: Waiting) -> dict[str, Any]:
    return {
        **found.event.as_json(),
        "found_at": rfc3339(found.found_at),
        "record_key": found.record_key,
        "schedule": found.schedule,
        "condition": found.condition,
        "untold": found.untold,
        "verdicts": [_verdict_json(verdict, waits) for verdict in found.verdicts],
    }


def _verdict_json(verdict: ConfigVerdict, waits: Waiting) -> dict[str, Any]:
    return {
        "config_id": verdict.config_id,
        "config_name": verdict.config_name,
        "decided": verdict.decided,
        "reason": verdict.reason,
        "until": rfc3339(verdict.until) if verdict.until else None,
        "delivery": _delivery_json(verdict.delivery, verdict.attempts, waits) if verdict.delivery else None,
    }


def _delivery_json(delivery: Delivery, attempts: Iterable[Attempt], waits: Waiting) -> dict[str, Any]:
    wait = waits.get(delivery.id)
    waiting = {"waits_for": reads.as_json(wait) if wait else None}
    return {**reads.as_json(delivery), **waiting, "attempts": [reads.as_json(attempt) for attempt in attempts]}
