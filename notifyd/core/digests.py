"""The words of a notification that tells more than one event."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from notifyd.core.describe import shown
from notifyd.model import Event, rfc3339


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
        message=f"{count} events between {shown(first_at)} and {shown(last_at)}. The latest: {events[-1].message}",
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
