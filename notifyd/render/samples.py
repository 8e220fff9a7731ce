"""One notification of every kind of event, and a digest: what a template is tried with before it is needed.

Of the details there are only those that every event of its type has, so that a template which counts on another
is found out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from notifyd.core.advice import ACTIONS, SEVERITIES
from notifyd.core.digests import digest
from notifyd.model import SYSTEM_EVENTS, Closes, Event, EventType, Notification, Reason

_AT = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)
_RUN = {"connector_id": "quickbooks", "tenant_id": "acme", "schedule_id": "nightly", "run_id": "4711", "source": "shop"}


def _event(event_type: EventType, title: str, message: str, **fields: Any) -> Event:
    return Event(
        id=f"sample-{event_type.value}",
        event_type=event_type,
        severity=SEVERITIES[event_type],
        title=title,
        message=message,
        timestamp=_AT,
        suggested_actions=ACTIONS.get(event_type, ()),
        **fields,
    )


EVENTS: Mapping[EventType, Event] = {
    event.event_type: event
    for event in (
        _event(
            EventType.SYNC_ERROR,
            "Sync Error: quickbooks - orders",
            "401: Invalid QuickBooks credentials or expired token",
            **_RUN,
            entity_type="orders",
            error_type="sync_failure",
            details={"connector": "quickbooks"},
        ),
        _event(
            EventType.RATE_LIMIT,
            "Rate Limit Reached: quickbooks",
            "The API rate limit of quickbooks was reached. Retry after 60 seconds.",
            **_RUN,
            error_type="rate_limit",
            details={"connector": "quickbooks", "error": "500: QuickBooks rate limit exceeded (retry after 60 s)"},
        ),
        _event(
            EventType.CONNECTION_FAILURE,
            "Connection Failed: quickbooks",
            "Failed to connect to quickbooks: connection refused",
            **_RUN,
            error_type="connection_failure",
            details={"connector": "quickbooks", "error": "connection refused"},
        ),
        _event(
            EventType.CONSECUTIVE_FAILURES,
            "Multiple Sync Failures: quickbooks",
            "quickbooks (schedule nightly) failed 3 times in a row. Manual intervention may be required.\n"
            "Last error: 500: QuickBooks API error (503 Service Unavailable)",
            **_RUN,
            error_type="consecutive_failures",
            details={"connector": "quickbooks", "failure_count": "3", "since": "2026-11-24T18:00:00.000000Z"},
        ),
        _event(
            EventType.STUCK_RUN,
            "Run Stuck: quickbooks",
            "A run of quickbooks has been running since 2026-11-24T19:00:00.000000Z and has not ended.",
            **_RUN,
            error_type="stuck_run",
            details={"connector": "quickbooks", "running_since": "2026-11-24T19:00:00.000000Z"},
        ),
        _event(
            EventType.SOURCE_UNREACHABLE,
            "Sync Log Unreachable: shop",
            "The sync log shop could not be read since 2026-11-24T20:55:00.000000Z, so its failures are unseen",
            source="shop",
            error_type="source_unreachable",
            details={"since": "2026-11-24T20:55:00.000000Z", "error": "locked"},
        ),
        _event(
            EventType.CHANNEL_FAILING,
            "Channel Failing: ops-mail",
            "Deliveries to ops-mail keep failing: connection refused.",
            error_type="channel_failing",
        ),
        _event(
            EventType.RECOVERED,
            "Recovered: quickbooks",
            "quickbooks succeeded again after 3 failed runs in a row.",
            **_RUN,
            closes=Closes("sample-consecutive_failures", EventType.CONSECUTIVE_FAILURES.value),
        ),
        _event(EventType.TEST, "Test Notification", "This is a test. If you can read it, it works."),
    )
}

_WITH_AN_END = SYSTEM_EVENTS | {EventType.CONSECUTIVE_FAILURES, EventType.STUCK_RUN}
_REASONS = {EventType.RECOVERED: Reason.RECOVERY, EventType.TEST: Reason.TEST}


def _alone(event: Event) -> Notification:
    reason = _REASONS.get(event.event_type, Reason.FIRST)
    thread = event.closes.id if event.closes else event.id if event.event_type in _WITH_AN_END else None
    return Notification("sample", "ops-mail", reason, event, (event,), 1, _AT, _AT, thread)


def _together() -> Notification:
    """A digest that tells more events than it shows, and of several kinds."""
    first, last = _AT, _AT + timedelta(minutes=5)
    kinds = (EventType.SYNC_ERROR, EventType.RATE_LIMIT, EventType.CONNECTION_FAILURE)
    events = tuple(replace(EVENTS[kind], timestamp=first + timedelta(minutes=n)) for n, kind in enumerate(kinds))
    headline = digest(events, 120, first, last, "sample")
    return Notification("sample", "ops-mail", Reason.DIGEST, headline, events, 120, first, last)


SAMPLES: Mapping[str, Notification] = {kind.value: _alone(event) for kind, event in EVENTS.items()} | {
    "a digest": _together()
}
"""By what they are samples of: every event type, and a digest."""
