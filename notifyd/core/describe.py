"""The words of an event: titles, messages, details, and what to do next."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from notifyd.core.classify import Failure
from notifyd.core.ids import event_id
from notifyd.core.rules import Advice, Origin, Rules
from notifyd.model import Closes, Event, EventType, Record, Run, Severity, Streak, rfc3339

SEVERITIES: Mapping[EventType, Severity] = {
    EventType.SYNC_ERROR: Severity.ERROR,
    EventType.RATE_LIMIT: Severity.WARNING,
    EventType.CONNECTION_FAILURE: Severity.CRITICAL,
    EventType.CONSECUTIVE_FAILURES: Severity.CRITICAL,
    EventType.STUCK_RUN: Severity.ERROR,
    EventType.SOURCE_UNREACHABLE: Severity.CRITICAL,
    EventType.CHANNEL_FAILING: Severity.ERROR,
    EventType.RECOVERED: Severity.INFO,
    EventType.TEST: Severity.INFO,
}

ACTIONS: Mapping[EventType, tuple[str, ...]] = {
    EventType.SYNC_ERROR: (
        "Check the connector's credentials and configuration",
        "Check the network path to the service",
        "Read the sync log around this time for the cause",
        "Retry the failed records once the cause is mended",
    ),
    EventType.RATE_LIMIT: (
        "Nothing urgent: the sync will be retried by itself",
        "Lower the sync frequency if this keeps happening",
        "Look for other syncs that use the same account at the same time",
    ),
    EventType.CONNECTION_FAILURE: (
        "Check that the credentials are valid and unexpired",
        "Check the network path, DNS and firewall between here and the service",
        "See whether the service itself is down",
        "Check the address and settings in the connector's configuration",
    ),
    EventType.STUCK_RUN: (
        "See whether the sync is still at work, or was killed and left its row behind",
        "Stop or restart it, and mark the run as failed",
        "If runs may take this long, raise `stuck_after` of this source",
    ),
    EventType.SOURCE_UNREACHABLE: (
        "See whether the database of the sync log is up, and reachable from here",
        "Check the url, the password and the file permissions of this source",
        "Run `notifyd check`: it says what exactly is wrong",
    ),
    EventType.CHANNEL_FAILING: (
        "Read `notifyd history --failed`: it has the error of each attempt",
        "Mend the channel's address, credentials or network; `notifyd test NAME` tries it at once",
        "What waits is sent once it works; what was given up (`notifyd deliveries --state dead`), by `notifyd retry`",
    ),
    EventType.CONSECUTIVE_FAILURES: (
        "Find the root cause in the most recent log entries of this schedule",
        "Refresh the credentials",
        "See whether the service is up",
        "Consider pausing the automatic sync until it is mended",
    ),
}

AUTH_ACTIONS = (
    "Renew the credentials: sign in again, or replace the token or key",
    "Check that the account may still use what the sync needs",
    "Run the sync once by hand to see that it works again",
)

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
    since = f" since {_moment(streak.touched)}" if streak.touched else ""
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
        state = f"has shown no sign of life since {_moment(run.last_sign)}"
        details["last_heartbeat"] = rfc3339(run.beat)
    return Event(
        id=event_id(origin.identity, origin.epoch, run.schedule, run.run_id, "stuck_run", run.occurrence),
        event_type=EventType.STUCK_RUN,
        severity=SEVERITIES[EventType.STUCK_RUN],
        title=f"Run Stuck: {_about(streak, subject)}",
        message=f"A run of {_which(streak, subject)} has been running since {_moment(run.start.at)} and {state}.",
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
        message=f"The run of {_which(streak, subject)} that was running since {_moment(run.start.at)} {end}.",
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


def source_unreachable(source: str, identity: str, since: datetime, error: str, now: datetime, rules: Rules) -> Event:
    """The event of a source that could not be read for too long: silence is not "all is well"."""
    return Event(
        id=event_id(identity, "source_unreachable", rfc3339(since)),
        event_type=EventType.SOURCE_UNREACHABLE,
        severity=SEVERITIES[EventType.SOURCE_UNREACHABLE],
        title=f"Sync Log Unreachable: {source}",
        message=f"The sync log {source} could not be read since {_moment(since)}, so failures go unseen: {error}",
        timestamp=now,
        error_type=EventType.SOURCE_UNREACHABLE.value,
        source=source,
        details={"since": rfc3339(since), "error": error},
        suggested_actions=actions(EventType.SOURCE_UNREACHABLE, None, rules.advice),
    )


def source_reachable(source: str, opened: str, since: datetime, now: datetime) -> Event:
    """The event that closes a source_unreachable. What was written meanwhile is read from where reading stopped."""
    return Event(
        id=event_id(opened, "recovered"),
        event_type=EventType.RECOVERED,
        severity=Severity.INFO,
        title=f"Recovered: {source}",
        message=f"The sync log {source} is read again, after an outage since {_moment(since)}. Nothing was skipped.",
        timestamp=now,
        source=source,
        details={"since": rfc3339(since)},
        closes=Closes(opened, EventType.SOURCE_UNREACHABLE.value),
    )


def channel_failing(
    config_id: str, name: str, since: datetime, error: str, now: datetime, rules: Rules, *, dead: int = 0
) -> Event:
    """The event of a config whose deliveries keep failing, for the others: its own people cannot hear of it. `dead` of
    its deliveries are not tried any more."""
    lost = f"{dead} {'was' if dead == 1 else 'were'} given up, and can be sent again with `notifyd retry`"
    return Event(
        id=event_id(config_id, "channel_failing", rfc3339(since)),
        event_type=EventType.CHANNEL_FAILING,
        severity=SEVERITIES[EventType.CHANNEL_FAILING],
        title=f"Channel Failing: {name}",
        message=f"Deliveries to {name} keep failing since {_moment(since)}, so its people are not told"
        + (f" ({lost}): {error}" if dead else f": {error}"),
        timestamp=now,
        error_type=EventType.CHANNEL_FAILING.value,
        details={"config": name, "since": rfc3339(since), "given_up": str(dead), "error": error},
        suggested_actions=actions(EventType.CHANNEL_FAILING, None, rules.advice),
    )


def told_too_late(config_id: str, name: str, count: int, first: str, since: datetime, now: datetime) -> Event:
    """The event for a config whose deliveries expired, where nothing followed that could say so. `first` is the id of
    the oldest of them, found at `since`."""
    what = "event was" if count == 1 else "events were"
    return Event(
        id=event_id(config_id, "told too late", first),
        event_type=EventType.CHANNEL_FAILING,
        severity=SEVERITIES[EventType.CHANNEL_FAILING],
        title=f"Not Told In Time: {name}",
        message=f"{count} {what} not delivered in time, the oldest found about {_moment(since)}, and expired.",
        timestamp=now,
        error_type=EventType.CHANNEL_FAILING.value,
        details={"config": name, "since": rfc3339(since), "expired": str(count)},
        suggested_actions=(
            "See what it was: notifyd deliveries --state expired",
            "Send again what still matters: notifyd retry",
        ),
    )


def channel_recovered(
    name: str, opened: str, since: datetime, now: datetime, *, in_use: bool, expired: int = 0
) -> Event:
    """The event that closes a channel_failing: it delivers again, or there is nobody any more to deliver to.
    `expired` events came too late for its people, who may not know of them yet."""
    outage = f"after an outage since {_moment(since)}"
    late = f" {expired} {'event was' if expired == 1 else 'events were'} too old to be told to its people by then."
    return Event(
        id=event_id(opened, "recovered"),
        event_type=EventType.RECOVERED,
        severity=Severity.INFO,
        title=f"Recovered: {name}",
        message=(f"{name} delivers again, {outage}." if in_use else f"{name} is not used any more, {outage}.")
        + (late if expired else ""),
        timestamp=now,
        details={"config": name, "since": rfc3339(since)},
        closes=Closes(opened, EventType.CHANNEL_FAILING.value),
    )


def no_longer_watched(opened: Event, source: str, now: datetime, *, paused: bool) -> Event:
    """The event that closes a condition of a source that is not read any more: whether it goes on, nobody knows."""
    why = "is disabled in the settings" if paused else "is not in the settings any more"
    return Event(
        id=event_id(opened.id, "no longer watched"),
        event_type=EventType.RECOVERED,
        severity=Severity.INFO,
        title=f"No Longer Watched: {source}",
        message=f"The source {source} {why}, so whether this goes on is not seen any more: {opened.title}.",
        timestamp=now,
        connector_id=opened.connector_id,
        entity_type=opened.entity_type,
        tenant_id=opened.tenant_id,
        schedule_id=opened.schedule_id,
        run_id=opened.run_id,
        source=source,
        details={"since": rfc3339(opened.timestamp)},
        closes=Closes(opened.id, opened.event_type.value),
    )


def test_event(config: str, token: str, now: datetime) -> Event:
    """The event that a person asks for, to see whether a config works. `token` makes it unique."""
    return Event(
        id=event_id("test", config, token),
        event_type=EventType.TEST,
        severity=Severity.INFO,
        title="Test Notification",
        message=f"This is a test of the notification config “{config}”. If you can read it, it works.",
        timestamp=now,
    )


def digest(events: tuple[Event, ...], count: int, first_at: datetime, last_at: datetime, delivery: str) -> Event:
    """The headline of a digest. `events` are samples of the `count` events it tells, oldest first."""
    worst = max(events, key=lambda event: event.severity.rank)
    types = {event.event_type for event in events}
    if len(types) == 1:
        title = (
            f"{count} × {worst.title}" if len({e.title for e in events}) == 1 else f"{count} events: {_plural(worst)}"
        )
    else:
        ended = count == len(events) and events[-1].closes is not None and _all_ended(events)
        title = f"{count} events: {worst.title}{', ended since' if ended else ' and others'}"
    return replace(
        worst,
        id=delivery,
        title=title,
        message=f"{count} events between {_moment(first_at)} and {_moment(last_at)}. The latest: {events[-1].message}",
        timestamp=last_at,
        entity_type=_common(event.entity_type for event in events),
        connector_id=_common(event.connector_id for event in events),
        error_type=_common(event.error_type for event in events),
        tenant_id=_common(event.tenant_id for event in events),
        schedule_id=_common(event.schedule_id for event in events),
        run_id=_common(event.run_id for event in events),
        source=_common(event.source for event in events),
        details={"count": str(count), "first": rfc3339(first_at), "last": rfc3339(last_at)},
        suggested_actions=tuple(
            dict.fromkeys(a for e in events if e.event_type is worst.event_type for a in e.suggested_actions)
        ),
        closes=None,
    )


def with_missed(event: Event, count: int) -> Event:
    """The headline of a notification that also tells that others expired before their config could be told."""
    events, were = ("event", "was") if count == 1 else ("events", "were")
    return replace(
        event,
        message=f"{event.message}\n\nBefore this, {count} {events} could not be delivered in time and {were} never "
        "told here: `notifyd deliveries --state expired` lists what expired.",
    )


def with_flood(event: Event) -> Event:
    """The headline of a digest that gathered because of the cap on all notifications: the notice that says so."""
    return replace(
        event,
        message=f"{event.message}\n\nThere was more than `max_notifications_per_minute` lets through, so everything "
        "gathered in this message; nothing is lost.",
    )


def actions(
    event_type: EventType, connector: str | None, advice: tuple[Advice, ...], *, auth: bool = False
) -> tuple[str, ...]:
    """What to do next: the admin's own advice, the most specific first, else the built-in."""
    fits = [a for a in advice if a.connector in (None, connector) and a.event_type in (None, event_type)]
    fits.sort(key=lambda a: (a.connector is None) + 2 * (a.event_type is None))
    own = next((a.actions for a in fits if a.actions), None)
    steps = own or (AUTH_ACTIONS if auth else ACTIONS.get(event_type, ()))
    runbook = next((a.runbook for a in fits if a.runbook), None)
    return (*steps, f"Runbook: {runbook}") if runbook else steps


def retry_after(text: str) -> str | None:
    """The whole seconds that a text asks to wait, as text; None if it names none."""
    found = _RETRY_AFTER.search(text)
    if not found:
        return None
    unit = (found[2] or "s").lower()
    number = float(found[1])
    return str(math.ceil(number / 1000 if unit.startswith(("ms", "milli")) else number * _SECONDS[unit[0]]))


def _moment(moment: datetime) -> str:
    """A time as people read it."""
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


def _all_ended(events: tuple[Event, ...]) -> bool:
    """Whether the events are one condition, or several, with what closes each."""
    closed = {event.closes.id for event in events if event.closes}
    return all(event.closes or event.id in closed for event in events)


def _plural(event: Event) -> str:
    return event.title.split(":", 1)[0]


def _common(values: Iterable[str | None]) -> str | None:
    """The value that all of them share, if they do."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None
