"""The tables of a settings file, typed. What a key means is its description; what is wrong with it, its type.

Every model can be built from TOML as well as from code: `SourceSettings(poll=timedelta(seconds=1), …)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from notifyd.api import EventType, Options
from notifyd.core.rules import Advice, Pattern, Rules
from notifyd.settings.columns import Columns, Statuses
from notifyd.settings.cron import Poll
from notifyd.settings.durations import Duration, at_least, at_most
from notifyd.settings.values import (
    Folder,
    HttpUrl,
    Listen,
    Name,
    Network,
    Regex,
    SourceUrl,
    Start,
    StateUrl,
    Table,
    Text,
    Timezone,
    split_address,
)


class DaemonSettings(Table):
    """The daemon itself."""

    state: StateUrl = Field(
        "",
        description="The state database. Default: in $STATE_DIRECTORY, else in /var/lib/notifyd for a file "
        "under /etc, else beside the file.",
    )
    plugins_dir: Folder | None = Field(None, description="A folder of *.py files that are plugins too.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")
    retention: Annotated[Duration, AfterValidator(at_least("1h"))] = Field(
        timedelta(days=90), description="How long history is kept; what is open or pending stays."
    )


class HttpSettings(Table):
    """The HTTP server: health now, and the API."""

    listen: Listen = Field("127.0.0.1:8321", description='Where it listens, as "host:port"; "" is off.')

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port; None where it is off."""
        return split_address(self.listen)


class SourceSettings(Table):
    """One sync log, and how its columns map."""

    name: Name = Field(description="What people call it; unique.")
    id: Name = Field(
        default_factory=lambda data: data["name"],
        description="Its identity in the state database. Default: its name. Keep it when you rename the source.",
    )
    enabled: bool = Field(True, description="false: not read.")
    url: SourceUrl = Field(description="The database, opened read-only: sqlite:/// and the file's path.")
    preset: Text | None = Field(None, description="A known system; any key here overrides it.")
    table: Text | None = Field(None, description="The table or view to read.")
    query: Text | None = Field(None, description="Instead of a table: a SELECT whose columns are mapped.")
    error_query: Text | None = Field(
        None,
        description="For a failed row without a message: a SELECT of `message` (and of error_type, error_code, "
        "or details, by name) for the run :run_id or the row :key; its first row counts.",
    )
    columns: Columns = Field(description="Which column holds which field; a preset has its own.")
    statuses: Statuses = Field(description="What the values of the status column mean; a preset has its own.")
    ignore: tuple[Regex, ...] = Field((), description="A record whose message matches one of these is ignored.")
    rows: Literal["records", "runs"] = Field(
        default_factory=lambda data: "records" if data["columns"].run_id else "runs",
        description='"records": many rows share a run id; "runs": one row per run. Default: "records" where '
        "columns.run_id is given.",
    )
    run_ends_after: Annotated[Duration, AfterValidator(at_least("1ms"))] = Field(
        timedelta(minutes=10), description="A run of records without a failure has succeeded after this much quiet."
    )
    poll: Poll = Field(timedelta(seconds=1), description="How often it is read: an interval, or a cron expression.")
    start: Start = Field("now", description='Where the first start begins: "now", "beginning", or how far back.')
    timezone: Timezone = Field(ZoneInfo("UTC"), description="The zone of times without one, and of a cron `poll`.")


def _remind_every(duration: timedelta) -> timedelta:
    if timedelta() < duration < timedelta(seconds=1):
        raise ValueError('must be at least 1s, or "0s" for never')
    return duration


class ConsecutiveFailures(Table):
    """When failures in a row become an event of their own."""

    threshold: int = Field(3, ge=1, le=1000, description="Failed runs of one schedule in a row.")
    remind_every: Annotated[Duration, AfterValidator(_remind_every)] = Field(
        timedelta(hours=24), description='While it goes on; "0s" is never.'
    )


class PatternRule(Table):
    """A text that says what kind of failure a record is; the first match wins."""

    matches: Regex = Field(description="A regular expression, searched in the message, whatever the case.")
    connector: Text | None = Field(None, description="Only this connector. Default: all.")
    event_type: Literal["sync_error", "rate_limit", "connection_failure", "ignore"] = Field(
        description='What it is; "ignore" makes the record ignored.'
    )
    error_type: Text | None = Field(None, description="The error type that people are told and filters match.")


class ActionRule(Table):
    """Suggested actions of your own, instead of the built-in ones."""

    connector: Text | None = Field(None, description="Only this connector. Default: all.")
    event_type: EventType | None = Field(None, description="Only this kind of event. Default: all.")
    actions: tuple[Text, ...] = Field((), description="What to do, in order.")
    runbook: HttpUrl | None = Field(None, description="A link that comes last.")

    @model_validator(mode="after")
    def _advises(self) -> Self:
        if not self.actions and not self.runbook:
            raise ValueError("advises nothing: expected actions, or a runbook, or both")
        return self


class RulesSettings(Table):
    """What counts as what, and what is advised."""

    consecutive_failures: ConsecutiveFailures = Field(default_factory=ConsecutiveFailures)
    patterns: tuple[PatternRule, ...] = ()
    actions: tuple[ActionRule, ...] = ()

    def detection(self) -> Rules:
        """The same as plain values, for the core."""
        return Rules(
            threshold=self.consecutive_failures.threshold,
            remind_every=self.consecutive_failures.remind_every or None,
            patterns=tuple(_pattern(rule) for rule in self.patterns),
            advice=tuple(
                Advice(rule.actions, rule.runbook, connector=rule.connector, event_type=rule.event_type)
                for rule in self.actions
            ),
        )


def _pattern(rule: PatternRule) -> Pattern:
    event_type = None if rule.event_type == "ignore" else EventType(rule.event_type)
    return Pattern(rule.matches, event_type, rule.error_type, rule.connector)


GroupField = Literal[
    "event_type",
    "severity",
    "connector_id",
    "entity_type",
    "error_type",
    "tenant_id",
    "schedule_id",
    "run_id",
    "source",
]


class Group(Table):
    """What is told together."""

    window: Duration = Field(
        timedelta(minutes=5), description='What follows a first event within this time is one digest; "0s" is none.'
    )
    by: tuple[GroupField, ...] = Field(
        ("event_type", "connector_id"), description="Events that agree in these fields are one group."
    )


class NotificationTable(Table):
    """One notification config. `config` and `filters` belong to plugins, and are checked by them."""

    name: Name = Field(description="Its identity; unique.")
    notification_type: Text = Field(description="The name of a channel plugin: email, slack, webhook …")
    enabled: bool = Field(True, description="false: nothing is sent to it.")
    config: dict[str, Any] = Field(default_factory=dict, description="The channel's options.")
    filters: dict[str, Any] = Field(default_factory=dict, description="Which events it is told; none: all.")
    group: Group = Field(default_factory=Group, description="What is told together.")
    system: bool = Field(
        False, description="true: it is told when notifyd itself is in trouble. If no config is, all are."
    )
    timeout: Annotated[Duration, AfterValidator(at_least("100ms")), AfterValidator(at_most("10m"))] = Field(
        timedelta(seconds=30), description="The total time of one attempt."
    )


class SecuritySettings(Table):
    """What is allowed."""

    allow_private_targets: tuple[Network, ...] = Field(
        (), description="Networks where configs made through the API may send besides public addresses."
    )


@dataclass(frozen=True)
class NotificationSettings:
    """One notification config, its options and filters validated by the plugins that own them."""

    name: str
    notification_type: str
    options: Options
    enabled: bool = True
    filters: Mapping[str, Any] = field(default_factory=dict)
    group: Group = field(default_factory=Group)
    system: bool = False
    timeout: timedelta = timedelta(seconds=30)
    where: str = ""  # "file:line" of its table
