"""The tables of a settings file, typed. What a key means is its description; what is wrong with it, its type.

Every model can be built from TOML as well as from code: `SourceSettings(poll=timedelta(seconds=1), …)`.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from notifyd.api import EventType, FilePath, Options, Secret, SecretUrl
from notifyd.api.files import show
from notifyd.api.options import sends
from notifyd.core.retry import DAY
from notifyd.core.rules import Advice, Pattern, Rules
from notifyd.render import Template
from notifyd.settings.columns import Columns, Statuses
from notifyd.settings.cron import Poll
from notifyd.settings.durations import Duration, at_least, at_most
from notifyd.settings.values import (
    Fast,
    Folder,
    HttpUrl,
    Listen,
    Name,
    Network,
    PublicUrl,
    Regex,
    SourceUrl,
    Start,
    StateUrl,
    Table,
    TemplateText,
    Text,
    Timezone,
    socket_path,
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
    audit_retention: Annotated[Duration, AfterValidator(at_least("1h"))] = Field(
        timedelta(days=365), description="How long it is kept who did what through the API."
    )
    max_notifications_per_minute: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="The last dam: how many may leave within any minute, over all configs; beyond it everything "
        "gathers. Default: no limit.",
    )
    fast: Fast = Field(
        None, description="Whether the extra `fast` sends (httptools on uvloop). Default: where it is installed."
    )


Metrics = Literal["token", "open", "off"]


class HttpSettings(Table):
    """The HTTP server: health, metrics and the API."""

    listen: Listen = Field(
        "127.0.0.1:8321", description='Where it listens: "host:port", or "unix:/path" for a socket; "" is off.'
    )
    tls_cert: FilePath | None = Field(
        None, description="A PEM file of the certificate to serve HTTPS with, and its chain. Default: plain HTTP."
    )
    tls_key: FilePath | None = Field(
        None, description="A PEM file of the key of tls_cert. Default: tls_cert holds it too."
    )
    public_url: PublicUrl | None = Field(
        None, description="Where people reach it, such as https://notifyd.example.com: what they are sent links to it."
    )

    metrics: Metrics = Field(
        "token",
        description='Who may read /metrics: who has a "token" with the permission read_metrics, everybody ("open"), '
        'or nobody ("off").',
    )

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port; None where it is off, or a socket."""
        return split_address(self.listen)

    @property
    def socket(self) -> Path | None:
        """The path of the Unix socket that it listens on, if it does."""
        return socket_path(self.listen)

    def tls(self) -> ssl.SSLContext | None:
        """What it serves HTTPS with; ValueError says why the files cannot be used."""
        if self.tls_cert is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        show(context, self.tls_cert, self.tls_key)
        return context

    @model_validator(mode="after")
    def _certificate_and_key(self, info: ValidationInfo) -> Self:
        if self.tls_key and not self.tls_cert:
            raise ValueError("tls_key has no use without tls_cert")
        if sends(info):
            self.tls()
        return self


class SourceSettings(Table):
    """One sync log, and how its columns map."""

    name: Name = Field(description="What people call it; unique.")
    id: Name = Field(
        default_factory=lambda data: data["name"],
        description="Its identity in the state database and in ids: for one receiver of several daemons, each its own. "
        "Default: its name. Keep it when you rename the source.",
    )
    enabled: bool = Field(True, description="false: not read.")
    url: SourceUrl = Field(description="The database, opened read-only: sqlite:///FILE, postgresql://… or mysql://…")
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
    redact: tuple[Regex, ...] = Field(
        (),
        description="What matches one of these in a row's texts is replaced by [redacted], before it is kept anywhere.",
    )
    text_limit: int = Field(2_000, ge=20, le=8_000, description="The most characters that are kept of a message.")
    rows: Literal["records", "runs"] = Field(
        default_factory=lambda data: "records" if data["columns"].run_id else "runs",
        description='"records": many rows share a run id; "runs": one row per run. Default: "records" where '
        "columns.run_id is given.",
    )
    run_ends_after: Annotated[Duration, AfterValidator(at_least("1ms"))] = Field(
        timedelta(minutes=10), description="A run of records without a failure has succeeded after this much quiet."
    )
    stuck_after: Duration = Field(
        timedelta(hours=6),
        description="A run that stays running for this long is told as stuck; where columns.heartbeat_at is given, "
        'one that shows no sign of life for this long. "0s" is never.',
    )
    forget_after: Duration = Field(
        timedelta(days=30),
        description="A schedule that has not run for this long is forgotten, and its announced streak closed; "
        '"0s" is never.',
    )
    rewatch: Duration = Field(
        timedelta(hours=1),
        description="How long after its end a row is looked up, in case it is run again in place, where no indexed "
        'updated_at shows it; "0s" is never.',
    )
    unreachable_after: Annotated[Duration, AfterValidator(at_least("1ms"))] = Field(
        timedelta(minutes=5), description="After this long without a successful read, people are told."
    )
    timeout: Annotated[Duration, AfterValidator(at_least("100ms"))] = Field(
        timedelta(minutes=2),
        description="A read that has not answered within this time is left behind, and the source is read anew.",
    )
    poll: Poll = Field(timedelta(seconds=1), description="How often it is read: an interval, or a cron expression.")
    start: Start = Field("now", description='Where the first start begins: "now", "beginning", or how far back.')
    timezone: Timezone = Field(ZoneInfo("UTC"), description="The zone of times without one, and of a cron `poll`.")
    cursor: Literal["auto", "key", "timestamp"] = Field(
        "auto",
        description='What says which rows are new: the key, or the time when a row was changed. "auto": the key '
        "where it is a whole number, else SQLite's rowid, else the time.",
    )
    overlap: Annotated[Duration, AfterValidator(at_least("1s"))] = Field(
        timedelta(minutes=1), description="By time: how late a row may become visible, as far as its own time goes."
    )
    gap_horizon: Annotated[Duration, AfterValidator(at_least("1s"))] = Field(
        timedelta(minutes=10),
        description="By key: how long skipped keys are waited for where the database does not show who is writing.",
    )


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


class TemplateTable(Table):
    """What is said in the place of notifyd's own words, as Jinja2 templates."""

    title: TemplateText | None = Field(None, description="The subject or headline, one line.")
    body: TemplateText | None = Field(None, description="The text.")


class Delivery(Table):
    """How much at a time, for how long it is tried, and when it is too old to matter."""

    max_concurrency: int = Field(
        8, ge=1, le=8, description="Attempts at once; eight at most, as many as an endpoint has connections."
    )
    max_per_minute: int | None = Field(
        None, ge=1, le=100_000, description="Attempts that may begin within any minute; tests are not counted."
    )
    retry_for: Duration = Field(
        DAY, description='How long after its first attempt it is tried again, then it is dead; "0s" is once.'
    )
    expire_after: Duration = Field(
        timedelta(),
        description='Not sent any more once notifyd has known all that it tells for this long; "0s" is never.',
    )


class NotificationTable(Table):
    """One notification config. `config` and `filters` belong to plugins, and are checked by them."""

    name: Name = Field(description="Its identity; unique.")
    notification_type: Text = Field(description="The name of a channel plugin: email, slack, webhook …")
    enabled: bool = Field(True, description="false: nothing is sent to it.")
    config: dict[str, Any] = Field(default_factory=dict, description="The channel's options.")
    filters: dict[str, Any] = Field(default_factory=dict, description="Which events it is told; none: all.")
    group: Group = Field(default_factory=Group, description="What is told together.")
    template: TemplateTable = Field(default_factory=TemplateTable, description="Words of your own.")
    delivery: Delivery = Field(default_factory=Delivery, description="How it is sent.")
    system: bool = Field(
        False, description="true: it is told when notifyd itself is in trouble. If no config is, all are."
    )
    timeout: Annotated[Duration, AfterValidator(at_least("100ms")), AfterValidator(at_most("10m"))] = Field(
        timedelta(seconds=30), description="The total time of one attempt."
    )
    isolate: bool = Field(
        False, description="true: the channel runs in a process of its own, which is killed when it hangs or runs wild."
    )


SHORTEST_KEY = 32
"""Characters of a key to encrypt with: as many as `openssl rand -hex 16` prints."""


def _long_enough(key: Secret) -> Secret:
    if key.resolved and len(key.reveal()) < SHORTEST_KEY:
        raise ValueError(f"is too short: at least {SHORTEST_KEY} characters; make one with: openssl rand -hex 32")
    return key


class HeartbeatSettings(Table):
    """An address that is called while all is well: who waits there for the calls tells of a daemon that is dead."""

    url: SecretUrl | None = Field(
        None, description="What is called with GET, such as a check of healthchecks.io. Default: nothing."
    )
    every: Annotated[Duration, AfterValidator(at_least("5s"))] = Field(
        timedelta(minutes=1), description="How often; give the check that waits for it a few times as long."
    )


class SecuritySettings(Table):
    """What is allowed."""

    allow_private_targets: tuple[Network, ...] = Field(
        (), description="Networks where configs made through the API may send besides public addresses."
    )
    key: Annotated[Secret, AfterValidator(_long_enough)] | None = Field(
        None,
        description="Encrypts the secrets of configs made through the API: at least 32 random characters. "
        "Default: a key in a file beside the state database, made when it is needed.",
    )


@dataclass(frozen=True)
class NotificationSettings:
    """One notification config, its options and filters validated by the plugins that own them.

    `shown` is its table as people may see it: with all keys, and a mask in the place of each secret.
    """

    name: str
    notification_type: str
    options: Options
    enabled: bool = True
    filters: Mapping[str, Any] = field(default_factory=dict)
    group: Group = field(default_factory=Group)
    template: Template = field(default_factory=Template)
    delivery: Delivery = field(default_factory=Delivery)
    system: bool = False
    timeout: timedelta = timedelta(seconds=30)
    isolate: bool = False
    where: str = ""  # "file:line" of its table
    id: str = ""  # of one made through the API; the identity of one in the file is its name
    shown: Mapping[str, Any] = field(default_factory=dict)
