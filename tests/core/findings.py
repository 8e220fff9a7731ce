"""Findings by hand, for the tests of planning and of the outbox."""

from __future__ import annotations

from typing import Any

from notifyd.model import Closes, Event, EventType, Finding, Severity
from tests.core.logs import NOON


def finding(
    name: str, event_type: EventType = EventType.SYNC_ERROR, *, condition: str | None = None, **values: Any
) -> Finding:
    """A failure that was found, about the connector woo at noon; of a streak where `condition` names one."""
    severity = values.pop("severity", Severity.ERROR)
    values = {"connector_id": "woo", "timestamp": NOON, **values}
    return Finding(Event(name, event_type, severity, name, "told", **values), "nightly", name, condition)


def announcement(name: str = "streak", condition: str | None = None) -> Finding:
    """A streak that is announced; or, under another name than its condition's, its reminder."""
    severe = Severity.CRITICAL
    return finding(name, EventType.CONSECUTIVE_FAILURES, condition=condition or name, severity=severe)


def recovery(of: str = "streak") -> Finding:
    """The end of an announced streak."""
    closes = Closes(of, "consecutive_failures")
    return finding(f"end of {of}", EventType.RECOVERED, condition=of, severity=Severity.INFO, closes=closes)


def failures(first: int, last: int, condition: str | None = None) -> list[Finding]:
    """One failure for each number."""
    return [finding(str(n), condition=condition) for n in range(first, last + 1)]
