"""The words of an event that is about notifyd itself: what it cannot read, or cannot tell."""

from __future__ import annotations

from datetime import datetime

from notifyd.core.advice import SEVERITIES, actions
from notifyd.core.describe import shown
from notifyd.core.ids import event_id
from notifyd.core.rules import Rules
from notifyd.model import Closes, Event, EventType, Severity, rfc3339


def source_unreachable(source: str, identity: str, since: datetime, error: str, now: datetime, rules: Rules) -> Event:
    """The event of a source that could not be read for too long: silence is not "all is well"."""
    return Event(
        id=event_id(identity, "source_unreachable", rfc3339(since)),
        event_type=EventType.SOURCE_UNREACHABLE,
        severity=SEVERITIES[EventType.SOURCE_UNREACHABLE],
        title=f"Sync Log Unreachable: {source}",
        message=f"The sync log {source} could not be read since {shown(since)}, so failures go unseen: {error}",
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
        message=f"The sync log {source} is read again, after an outage since {shown(since)}. Nothing was skipped.",
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
        message=f"Deliveries to {name} keep failing since {shown(since)}, so its people are not told"
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
        message=f"{count} {what} not delivered in time, the oldest found about {shown(since)}, and expired.",
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
    outage = f"after an outage since {shown(since)}"
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
