"""Settings that are right, and yet hardly what anybody wants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import combinations

from notifyd.api import Drop
from notifyd.cli.doctor.finding import Finding, Level
from notifyd.clock import utc_now
from notifyd.errors import NotifydError
from notifyd.filtering import Gate, ask, gate_of
from notifyd.model import Event, EventType, Severity, rfc3339
from notifyd.settings import NotificationSettings, Settings
from notifyd.store import reads
from notifyd.store.errors import StoreError

AREA = "Settings that may not do what you want"
MANY = 50
"""Deliveries of one config within a day, from which on digests are kinder."""

_STRANGER = "a connector that nobody has named"


def findings(settings: Settings) -> Iterator[Finding]:
    """What is found by looking at the settings, and a little at what came of them."""
    enabled = [each for each in settings.notifications if each.enabled]
    if not settings.sources or not any(source.enabled for source in settings.sources):
        yield Finding(AREA, Level.PROBLEM, "no [[sources]] is enabled, so nothing is read", "add one, or enable it")
    if not settings.notifications:
        yield Finding(AREA, Level.WARNING, "the file has no [[notifications]]", "add one, or make one through the API")
    yield from _criticals(settings, enabled)
    yield from _twice(enabled)
    yield from _rules(settings)
    yield from _one_by_one(settings, enabled)
    yield from _the_watcher(settings, enabled)


def _criticals(settings: Settings, enabled: Sequence[NotificationSettings]) -> Iterator[Finding]:
    """Whom the worst would reach."""
    if not enabled:
        return
    try:
        gates = [gate_of(each, settings.registry) for each in enabled]
    except NotifydError as error:
        yield Finding(AREA, Level.PROBLEM, str(error), "`notifyd plugins` lists the filters that there are")
        return
    if not _told(gates, _critical(None)):
        text = "no config in the file tells of critical events: each of them drops a streak of failures"
        yield Finding(
            AREA, Level.PROBLEM, text, "one config with a lower min_severity, or fewer event_types and error_types"
        )
    elif not _told(gates, _critical(_STRANGER)):
        text = "a critical event of a connector that no config names is told to nobody"
        yield Finding(AREA, Level.WARNING, text, "one config without `connectors`, for what is new")


def _critical(connector: str | None) -> Event:
    kind, now = EventType.CONSECUTIVE_FAILURES, utc_now()
    return Event(
        "doctor", kind, Severity.CRITICAL, "A streak", "…", connector_id=connector, error_type=kind.value, timestamp=now
    )


def _told(gates: Sequence[Gate], event: Event) -> bool:
    verdicts = ask(gates, [event], utc_now())
    return any(not isinstance(verdicts.get((event.id, gate.recipient.id)), Drop) for gate in gates)


def _twice(enabled: Sequence[NotificationSettings]) -> Iterator[Finding]:
    for one, other in combinations(enabled, 2):
        if (one.notification_type, one.options) == (other.notification_type, other.options):
            same = "and the same filters: everything" if one.filters == other.filters else "so what passes both"
            text = f"{one.name} and {other.name} send to the same place, {same} is told there twice"
            yield Finding(AREA, Level.WARNING, text, "one config for each place; filters that do not overlap")


def _rules(settings: Settings) -> Iterator[Finding]:
    if settings.rules.consecutive_failures.threshold == 1:
        text = "a streak begins with one failure (threshold = 1): each is told twice, as itself and as a streak"
        yield Finding(AREA, Level.WARNING, text, "rules.consecutive_failures: threshold = 2 or more")


def _one_by_one(settings: Settings, enabled: Sequence[NotificationSettings]) -> Iterator[Finding]:
    """Who was told of many things, each by itself."""
    without = {each.name for each in enabled if not each.group.window}
    since = rfc3339(utc_now() - timedelta(days=1))
    sql = "SELECT config_name, COUNT(*) FROM notification_history WHERE started_at > ? AND attempt = 1 GROUP BY 1"
    try:
        with reads.opened(settings.daemon.state) as db:
            sent = dict(db.run(sql, [since]))
    except StoreError:  # said already
        return
    for name in sorted(without):
        if sent.get(name, 0) > MANY:
            text = f"{name} was sent {sent[name]} messages within a day, each by itself (group.window is 0s)"
            yield Finding(AREA, Level.WARNING, text, 'a window of "5m" makes digests of what follows a first event')


def _the_watcher(settings: Settings, enabled: Sequence[NotificationSettings]) -> Iterator[Finding]:
    if settings.heartbeat.url is None:
        text = "nobody is told if notifyd itself is dead"
        yield Finding(
            AREA, Level.NOTE, text, "[heartbeat] url, at a service that tells when calls stay away; or the alert rules"
        )
    if len(enabled) == 1:
        text = f"{enabled[0].name} is the only config: if it fails, nobody is told of that"
        yield Finding(AREA, Level.NOTE, text, "a second one, of another kind, with system = true")
