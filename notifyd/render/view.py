"""What a notification says, as clean texts in reading order: the one thing that both templates show.

Everything is decided here (which facts, how long, how many samples), so that text and HTML can
only differ in how they look. All texts are free of control characters; `message` and fact values
may hold line breaks, everything else is one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from notifyd.api import Event, Notification, Severity
from notifyd.render.cleaning import clean_lines, moment, one_line

TITLE_LIMIT = 200
MESSAGE_LIMIT = 4000
SAMPLE_LIMIT = 300
VALUE_LIMIT = 1000
LABEL_LIMIT = 40
MOST_SAMPLES = 10
MOST_DETAILS = 30

# The colour of each severity, and the ink that can be read on it.
_COLOURS = {
    Severity.INFO: ("#36a64f", "#000000"),
    Severity.WARNING: ("#ff9900", "#000000"),
    Severity.ERROR: ("#ff0000", "#000000"),
    Severity.CRITICAL: ("#8b0000", "#ffffff"),
}

# Details that repeat a field of their event under another name.
_REPEATED = {
    "connector": "connector_id",
    "entity": "entity_type",
    "tenant": "tenant_id",
    "schedule": "schedule_id",
    "sync_id": "run_id",
    "error": "message",
}

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

# Details of a digest's headline that say again how many events there are, and when they were.
_TOLD_OF_A_DIGEST = ("count", "first", "last")


class Fact(NamedTuple):
    """One row of the facts table."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One event of a digest."""

    severity: str
    title: str
    message: str
    where: str  # when it happened, and to whom: "2026-11-24 21:00:00 UTC · run 4711"


@dataclass(frozen=True, slots=True)
class View:
    """One notification, ready to be laid out."""

    severity: str
    colour: str
    ink: str  # what can be read on that colour
    title: str
    message: str
    facts: tuple[Fact, ...]
    actions: tuple[str, ...]
    samples: tuple[Sample, ...]
    more: int  # events of the digest that are not among the samples
    config: str
    id: str
    link: str  # to what the daemon knows of it; empty where nobody can follow one


def view_of(notification: Notification, link: str = "") -> View:
    """Decide what is said of this notification."""
    event = notification.event
    samples = notification.events[:MOST_SAMPLES] if notification.is_digest else ()
    colour, ink = _COLOURS[event.severity]
    return View(
        severity=event.severity.value.upper(),
        colour=colour,
        ink=ink,
        title=one_line(event.title, TITLE_LIMIT) or event.event_type.value,
        message=clean_lines(event.message, MESSAGE_LIMIT),
        facts=tuple(_facts(notification)),
        actions=tuple(filter(None, (one_line(action, VALUE_LIMIT) for action in event.suggested_actions))),
        samples=tuple(_sample(sample) for sample in samples),
        more=notification.count - len(samples) if samples else 0,
        config=one_line(notification.config, TITLE_LIMIT),
        id=one_line(notification.id, TITLE_LIMIT),
        link=link,
    )


def _facts(notification: Notification) -> Iterator[Fact]:
    """The rows that have a value: the event's own fields, its times, then its details."""
    event = notification.event
    told = [
        ("Connector", event.connector_id),
        ("Entity type", event.entity_type),
        ("Tenant", event.tenant_id),
        ("Schedule", event.schedule_id),
        ("Run", event.run_id),
        ("Source", event.source),
        ("Error type", event.error_type),
        ("Closes", f"{event.closes.event_type} {event.closes.id}" if event.closes else None),
        *_times(notification),
        *_details(notification),
    ]
    for label, value in told:
        if value and (text := clean_lines(value, VALUE_LIMIT)):
            yield Fact(label, text)


def _times(notification: Notification) -> list[tuple[str, str]]:
    if not notification.is_digest:
        return [("Time", moment(notification.event.timestamp))]
    return [
        ("Events", str(notification.count)),
        ("First", moment(notification.first_at)),
        ("Last", moment(notification.last_at)),
    ]


def _details(notification: Notification) -> Iterator[tuple[str, str]]:
    own = _own_details(notification)
    for key in list(own)[:MOST_DETAILS]:
        yield _label(key), _readable(own[key])
    if len(own) > MOST_DETAILS:
        yield "Details", f"… and {len(own) - MOST_DETAILS} more"


def _own_details(notification: Notification) -> Mapping[str, str]:
    """The details without those that only repeat a field of the event, or of the digest."""
    event = notification.event
    told = _TOLD_OF_A_DIGEST if notification.is_digest else ()
    return {
        key: value
        for key, value in event.details.items()
        if key not in told and value != getattr(event, _REPEATED.get(key, key), None)
    }


def _readable(value: str) -> str:
    """A time that notifyd itself wrote for programs, as people read it; any other text as it is."""
    if not _RFC3339.fullmatch(value):
        return value
    try:
        return moment(datetime.fromisoformat(value))
    except ValueError:
        return value


def _label(key: str) -> str:
    words = one_line(key.replace("_", " "), LABEL_LIMIT)
    return words[:1].upper() + words[1:]


def _sample(event: Event) -> Sample:
    named = {"": event.entity_type, "tenant": event.tenant_id, "schedule": event.schedule_id, "run": event.run_id}
    whom = [f"{name} {value}" for name, value in named.items() if value]
    return Sample(
        severity=event.severity.value,
        title=one_line(event.title, TITLE_LIMIT) or event.event_type.value,
        message=one_line(event.message, SAMPLE_LIMIT),
        where=one_line(" · ".join([moment(event.timestamp), *whom]), VALUE_LIMIT),
    )
