"""The words of an event of a sync log: titles, messages and details."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime

from notifyd.core.advice import SEVERITIES, actions
from notifyd.core.classify import Failure
from notifyd.core.ids import event_id
from notifyd.core.rules import Origin, Rules
from notifyd.model import Closes, Event, EventType, Record, Run, Severity, Streak, rfc3339

_RETRY_AFTER = re.compile(
    r"retry.?after\D{0,5}(\d{1,9}(?:\.\d+)?)(?![\d:-])\s*"
    r"(?:(ms|milliseconds?|s|sec|seconds?|m|min|minutes?|h|hours?)\b)?",
    re.IGNORECASE,
)

LAST_ERROR_LIMIT = 300

_SECONDS = {"s": 1, "m": 60, "h": 3600}


def failure(record: Record, what: Failure, at: datetime, run: Run, origin: Origin, rules: Rules) -> Event:
    """The event of a run's first failure of its type."""
    connector = record.connector_id or record.schedule_id or origin.source
    text = record.message or "the log gives no error text"
    title, message, details = _FAILURE_WORDS[what.event_type](connector, record, text)
    if record.run_id:
        details["sync_id"] = record.run_id
    return Event(
        id=event_id(origin.identity, origin.epoch, run.schedule, run.run_id, what.event_type, run.occurrence),
        event_type=what.event_type,
        severity=SEVERITIES[what.event_type],
        title=title,
        message=message,
        timestamp=at,
        connector_id=record.connector_id,
        # A refused connection or a rate limit concerns every entity type of the connector.
        entity_type=record.entity_type if what.event_type is EventType.SYNC_ERROR else None,
        error_type=what.error_type,
        tenant_id=record.tenant_id,
        schedule_id=record.schedule_id,
        run_id=record.run_id,
        source=origin.source,
        details={**record.details, **details},
        suggested_actions=actions(what.event_type, record.connector_id, rules.advice, auth=what.auth),
    )


def _sync_error(connector: str, record: Record, text: str) -> tuple[str, str, dict[str, str]]:
    about = f"{connector} - {record.entity_type}" if record.entity_type else connector
    details = {"connector": connector} | ({"entity": record.entity_type} if record.entity_type else {})
    return f"Sync Error: {about}", text, details


def _rate_limit(connector: str, record: Record, text: str) -> tuple[str, str, dict[str, str]]:
    seconds = retry_after(text)
    wait = f"Retry after {seconds} seconds." if seconds else "Retry with exponential backoff."
    details = {"connector": connector, "error": text} | ({"retry_after": seconds} if seconds else {})
    return f"Rate Limit Reached: {connector}", f"The API rate limit of {connector} was reached. {wait}", details


def _connection_failure(connector: str, record: Record, text: str) -> tuple[str, str, dict[str, str]]:
    details = {"connector": connector, "error": text}
    return f"Connection Failed: {connector}", f"Failed to connect to {connector}: {text}", details


_FAILURE_WORDS = {
    EventType.SYNC_ERROR: _sync_error,
    EventType.RATE_LIMIT: _rate_limit,
    EventType.CONNECTION_FAILURE: _connection_failure,
}


def announcement(streak: Streak, run_id: str, at: datetime, origin: Origin, rules: Rules) -> Event:
    """The event of a streak that reached the threshold, or, where it was announced before, its reminder."""
    subject = streak.connector_id or streak.schedule_id or origin.source
    since = rfc3339(streak.since) if streak.since else ""
    again = " It was told before, and failures go on." if streak.announced else ""
    said = f"\nLast error: {streak.last_error}" if streak.last_error else ""
    return Event(
        id=event_id(
            origin.identity, origin.epoch, streak.schedule, streak.number, "consecutive_failures", streak.reminders
        ),
        event_type=EventType.CONSECUTIVE_FAILURES,
        severity=Severity.CRITICAL,
        title=f"Multiple Sync Failures: {subject}",
        message=f"{_which(streak, subject)} failed {streak.failed_runs} times in a row. "
        f"Manual intervention may be required.{again}{said}",
        timestamp=at,
        connector_id=streak.connector_id,
        entity_type=streak.entity_type,
        error_type=EventType.CONSECUTIVE_FAILURES.value,
        tenant_id=streak.tenant_id,
        schedule_id=streak.schedule_id,
        run_id=run_id or None,
        source=origin.source,
        details={"connector": subject, "failure_count": str(streak.failed_runs), "since": since},
        suggested_actions=actions(EventType.CONSECUTIVE_FAILURES, streak.connector_id, rules.advice),
    )


def recovery(streak: Streak, run_id: str, at: datetime, origin: Origin) -> Event:
    """The event that closes an announced streak."""
    subject = streak.connector_id or streak.schedule_id or origin.source
    since = rfc3339(streak.since) if streak.since else ""
    return Event(
        id=event_id(origin.identity, origin.epoch, streak.schedule, streak.announced, "recovered", 0),
        event_type=EventType.RECOVERED,
        severity=Severity.INFO,
        title=f"Recovered: {subject}",
        message=f"{_which(streak, subject)} succeeded again after {streak.failed_runs} failed runs in a row.",
        timestamp=at,
        connector_id=streak.connector_id,
        entity_type=streak.entity_type,
        tenant_id=streak.tenant_id,
        schedule_id=streak.schedule_id,
        run_id=run_id or None,
        source=origin.source,
        details={"connector": subject, "failure_count": str(streak.failed_runs), "since": since},
        closes=Closes(streak.announced or "", EventType.CONSECUTIVE_FAILURES.value),
    )


def expired(streak: Streak, now: datetime, origin: Origin) -> Event:
    """The event that closes an announced streak whose schedule has not run for so long that it is forgotten."""
    subject = streak.connector_id or streak.schedule_id or origin.source
    since = f" since {shown(streak.touched)}" if streak.touched else ""
    return replace(
        recovery(streak, "", now, origin),
        title=f"No Longer Followed: {subject}",
        message=f"{_which(streak, subject)} has not run{since}: its {streak.failed_runs} failed runs in a row are"
        " not followed any more.",
    )


def stuck_run(run: Run, streak: Streak, now: datetime, origin: Origin, rules: Rules) -> Event:
    """The event of a run that has stayed running for too long."""
    subject = streak.connector_id or streak.schedule_id or origin.source
    details = {"connector": subject, "running_since": rfc3339(run.start.at)}
    state = "has not ended"
    if run.beat is not None:
        state = f"has shown no sign of life since {shown(run.last_sign)}"
        details["last_heartbeat"] = rfc3339(run.beat)
    return Event(
        id=event_id(origin.identity, origin.epoch, run.schedule, run.run_id, "stuck_run", run.occurrence),
        event_type=EventType.STUCK_RUN,
        severity=SEVERITIES[EventType.STUCK_RUN],
        title=f"Run Stuck: {_about(streak, subject)}",
        message=f"A run of {_which(streak, subject)} has been running since {shown(run.start.at)} and {state}.",
        timestamp=now,
        connector_id=streak.connector_id,
        entity_type=streak.entity_type,
        error_type=EventType.STUCK_RUN.value,
        tenant_id=streak.tenant_id,
        schedule_id=streak.schedule_id,
        run_id=run.run_id,
        source=origin.source,
        details=details,
        suggested_actions=actions(EventType.STUCK_RUN, streak.connector_id, rules.advice),
    )


def stuck_no_more(run: Run, streak: Streak, at: datetime, origin: Origin, *, alive: bool = False) -> Event:
    """The event that closes a stuck_run: the run has ended, in whatever way, or (`alive`) its heart beats again."""
    subject = streak.connector_id or streak.schedule_id or origin.source
    end = "shows signs of life again" if alive else "has ended"
    return Event(
        id=event_id(run.stuck, "recovered"),
        event_type=EventType.RECOVERED,
        severity=Severity.INFO,
        title=f"Recovered: {_about(streak, subject)}",
        message=f"The run of {_which(streak, subject)} that was running since {shown(run.start.at)} {end}.",
        timestamp=at,
        connector_id=streak.connector_id,
        entity_type=streak.entity_type,
        tenant_id=streak.tenant_id,
        schedule_id=streak.schedule_id,
        run_id=run.run_id,
        source=origin.source,
        details={"connector": subject, "running_since": rfc3339(run.start.at)},
        closes=Closes(run.stuck or "", EventType.STUCK_RUN.value),
    )


def retry_after(text: str) -> str | None:
    """The whole seconds that a text asks to wait, as text; None if it names none."""
    found = _RETRY_AFTER.search(text)
    if not found:
        return None
    unit = (found[2] or "s").lower()
    number = float(found[1])
    return str(math.ceil(number / 1000 if unit.startswith(("ms", "milli")) else number * _SECONDS[unit[0]]))


def shown(moment: datetime) -> str:
    """A time as people read it in a message."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def cut(text: str) -> str:
    """An error text as one line of a size that fits into any message beside other words."""
    line = " ".join(text.split())
    return line if len(line) <= LAST_ERROR_LIMIT else line[: LAST_ERROR_LIMIT - 1] + "…"


def _about(streak: Streak, subject: str) -> str:
    return f"{subject} ({streak.entity_type})" if streak.entity_type else subject


def _which(streak: Streak, subject: str) -> str:
    """What a streak is about, with its schedule where the subject does not say it: a connector may have many."""
    schedule = f"schedule {streak.schedule_id}" if streak.schedule_id not in (None, subject) else None
    more = ", ".join(filter(None, (streak.entity_type, schedule)))
    return f"{subject} ({more})" if more else subject
