"""The shapes of answers, for OpenAPI. Times are RFC 3339 in UTC, with microseconds."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from notifyd.model import EventType, Severity
from notifyd.settings.model import NotificationTable
from notifyd.store import audit, reads, waiting
from notifyd.store.lanes import LaneState

T = TypeVar("T")


class Shape(BaseModel):
    """The base of all shapes: every member is always there."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class Page(Shape, Generic[T]):
    """Some of a listing, newest first."""

    items: list[T]
    next: int | None = Field(description="What to ask for as `before`, for the page after this one; null on the last.")


class FieldError(BaseModel):
    """What is wrong with one field of the body, or with one parameter of the address."""

    pointer: str = Field("", description="A JSON pointer into the body.")
    parameter: str = Field("", description="The name of a parameter.")
    detail: str


class Problem(BaseModel):
    """What went wrong (RFC 9457). `detail` is one sentence for a person, and `error` is the same."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    errors: list[FieldError] = Field([], description="The fields that are wrong, where some are.")
    attempt: reads.Attempt | None = Field(None, description="Of a test: the attempt that failed.")


class Config(NotificationTable):
    """A notification config. Secrets read as "********"."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    id: str
    provisioned: bool = Field(description="true: it is written in the settings file, and only changed there.")
    created_at: datetime
    updated_at: datetime
    problem: str | None = Field(description="Why it cannot be used; null where it can.")


class Configs(Shape):
    """Every config, newest first."""

    items: list[Config]
    next: None = None


class Closes(Shape):
    """What an event ends."""

    id: str
    event_type: str


class Event(Shape):
    """Something that was found."""

    id: str
    event_type: EventType
    severity: Severity
    title: str
    message: str
    connector_id: str | None
    entity_type: str | None
    error_type: str | None
    tenant_id: str | None
    schedule_id: str | None
    run_id: str | None
    source: str | None
    details: dict[str, str]
    suggested_actions: list[str]
    timestamp: datetime = Field(description="When it happened, by the log.")
    closes: Closes | None
    found_at: datetime
    untold: bool = Field(description="Whether every config dropped it.")


class Verdict(Shape):
    """What was decided about an event for one config."""

    config_id: str
    config_name: str
    decided: Literal["planned", "dropped", "folded", "held"]
    reason: str
    until: datetime | None
    delivery_id: str | None


class EventWithVerdicts(Event):
    """An event, and what was decided about it for each config."""

    verdicts: list[Verdict]


class AttemptInFull(Shape):
    """An attempt with all that led to it: the events that it told, each config's verdict, and every attempt."""

    attempt: reads.Attempt
    delivery: reads.Delivery | None
    waits_for: waiting.Waits | None = Field(
        description="What holds it up beyond its own time; null where nothing does."
    )
    event: EventWithVerdicts | None = Field(description="The first event that was told; null once it is pruned.")
    events: list[EventWithVerdicts] = Field(description="Every event that was told, or the first twenty.")
    attempts: list[reads.Attempt]


class DeliveryInFull(Shape):
    """A delivery with all that led to it: the events that it tells, each config's verdict, and every attempt."""

    delivery: reads.Delivery
    waits_for: waiting.Waits | None = Field(
        description="What holds it up beyond its own time; null where nothing does."
    )
    events: list[EventWithVerdicts] = Field(description="Every event that it tells, or the first twenty.")
    attempts: list[reads.Attempt]


class Tested(Shape):
    """A test that was sent."""

    success: Literal[True]
    delivery_id: str
    attempt: reads.Attempt


class Retried(Shape):
    """Deliveries that will be sent again."""

    items: list[str]
    next: None = None


class Change(Shape):
    """One field, before and after; secrets as masks."""

    field: str
    old: Any
    new: Any


class AuditEntry(Shape):
    """Who did what, when."""

    id: int
    at: datetime
    actor: str = Field(description="The name of the token, or of who was at the command line.")
    actor_id: str | None
    action: str
    object_id: str | None
    object_name: str | None
    changes: list[Change]


class Plugin(Shape):
    """A channel or a filter, and what it takes."""

    name: str
    doc: str
    origin: str
    options: dict[str, Any] = Field(description="JSON Schema (2020-12), without what only a settings file may say.")


class Channel(Plugin):
    """A channel. Where `api_allowed` is false, only a settings file may use it."""

    api_allowed: bool


class Channels(Shape):
    """Every channel."""

    items: list[Channel]
    next: None = None


class Filters(Shape):
    """Every filter."""

    items: list[Plugin]
    next: None = None


class SourceRead(Shape):
    """How far a source is read, and how it fares."""

    source_id: str
    name: str
    read_up_to: str | None
    gaps: int | None
    epoch: int | None
    started_at: datetime | None
    read_at: datetime | None
    at_end: bool | None
    failed_at: datetime | None
    error: str | None
    watched: int | None
    set_aside: int | None
    newest_set_aside: list[reads.SetAside] | None


class Source(SourceRead):
    """A source, and whether the settings file still has it. null is what a source has not that was never read."""

    in_file: bool
    enabled: bool


class Sources(Shape):
    """Every source."""

    items: list[Source]
    next: None = None


class Schedule(Shape):
    """What fails in a row, and how it fares."""

    source: str
    schedule: str
    schedule_id: str | None
    connector_id: str | None
    entity_type: str | None
    tenant_id: str | None
    failed_runs: int = Field(description="Failed runs in a row.")
    since: datetime | None
    announced: str | None = Field(description="The event that told the streak; null below the threshold.")


class Schedules(Shape):
    """Schedules, those that fail first."""

    items: list[Schedule]
    next: int | None


class SourceBook(Shape):
    """What the rows of a source came to."""

    source_id: str
    name: str
    counts: dict[str, int]
    watched: int


class ConfigBook(Shape):
    """What the events that were offered to a config came to, and where those that were planned are, by state."""

    config_id: str
    name: str
    counts: dict[str, int]
    members: dict[str, int]
    saved: bool = Field(description="False for a config that was only tried out.")


class Status(Shape):
    """Where everything stands, and whether the books balance."""

    version: str
    troubles: list[str] = Field(
        description="What of the daemon turns no more, why its state DB cannot be used, which channels did not open."
    )
    sources: list[SourceRead]
    source_books: list[SourceBook]
    config_books: list[ConfigBook]
    deliveries: dict[str, int]
    given_up: int = Field(description="The deliveries that are dead, without tests.")
    streaks: list[audit.OpenStreak]
    lanes: list[LaneState] = Field(description="How each config's channel fares, those that fail first.")
    untold: int
    errors: list[reads.Attempt]
    balanced: bool
    differences: list[str]
    problems: dict[str, str] = Field(description="By config: why one that was made through the API cannot be used.")
