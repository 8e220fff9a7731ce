"""What an event is worth, and what to do next: our own words, and the admin's."""

from __future__ import annotations

from collections.abc import Mapping

from notifyd.core.rules import Advice
from notifyd.model import EventType, Severity

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
