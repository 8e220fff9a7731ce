"""The values that travel through notifyd; frozen, and made of the standard library only.

Record → Run → Event → Verdict → Notification → Outcome is the way that one row of a sync
log takes. All times are aware datetimes in UTC.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple


@enum.unique
class Severity(enum.Enum):
    """How bad an event is: info < warning < error < critical."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info … 3 for critical."""
        return _RANKS[self.value]

    def __lt__(self, other: Severity) -> bool:
        return self.rank < other.rank

    def __le__(self, other: Severity) -> bool:
        return self.rank <= other.rank

    def __gt__(self, other: Severity) -> bool:
        return self.rank > other.rank

    def __ge__(self, other: Severity) -> bool:
        return self.rank >= other.rank


_RANKS = {"info": 0, "warning": 1, "error": 2, "critical": 3}


class EventType(enum.StrEnum):
    """Every kind of event; the `event_types` filter accepts exactly these."""

    SYNC_ERROR = "sync_error"
    RATE_LIMIT = "rate_limit"
    CONNECTION_FAILURE = "connection_failure"
    CONSECUTIVE_FAILURES = "consecutive_failures"
    STUCK_RUN = "stuck_run"
    SOURCE_UNREACHABLE = "source_unreachable"
    CHANNEL_FAILING = "channel_failing"
    RECOVERED = "recovered"
    TEST = "test"


SYSTEM_EVENTS = frozenset({EventType.SOURCE_UNREACHABLE, EventType.CHANNEL_FAILING})
"""Events about notifyd itself rather than about one schedule of a source."""


class Status(enum.StrEnum):
    """What a sync system says of a record, normalised. `unmapped` is a raw value that no mapping names."""

    RUNNING = "running"
    RETRYING = "retrying"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    IGNORED = "ignored"
    UNMAPPED = "unmapped"


class Record(NamedTuple):
    """One row of a sync log, normalised.

    A NamedTuple, not a dataclass: a catch-up makes hundreds of thousands a second.
    `read_at` is when notifyd read it; no time of the row is trusted to be later than that.
    """

    key: str
    run_id: str | None
    schedule_id: str | None
    connector_id: str | None
    entity_type: str | None
    tenant_id: str | None
    status: Status
    error_type: str | None
    error_code: str | None
    message: str | None
    occurred_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    heartbeat_at: datetime | None
    details: Mapping[str, str]
    read_at: datetime


class Position(NamedTuple):
    """Where a record stands among its schedule's: by time, then by key. Comparable, so sortable."""

    at: datetime
    key: str


class Watch(NamedTuple):
    """A row that is looked up again: until it ends, and for a while after that, in case it is run again.

    `since` is when it was first seen in this state. `started` and `finished` are the row's own times: where
    they are others in the same state, it was run again between two looks.
    """

    status: Status
    since: datetime
    schedule: str | None = None  # with `run_id`, the run that the row belongs to; None where that is not known
    run_id: str | None = None
    until: datetime | None = None  # of a row that has ended: how long it is watched on
    started: datetime | None = None
    finished: datetime | None = None
    epoch: int = 0

    @property
    def ended(self) -> bool:
        """Whether the row has ended, and is watched in case it is run again."""
        return self.until is not None


class RunState(enum.StrEnum):
    """`succeeded` is provisional in a record-level log: a late failing record still makes the run failed."""

    OPEN = "open"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(slots=True)
class Run:
    """One execution of a sync within one schedule, as far as its records have been read.

    The fold works on copies of these; everyone else treats them as frozen.
    """

    schedule: str
    run_id: str
    start: Position
    end: Position
    last_read_at: datetime
    state: RunState = RunState.OPEN
    neutral: bool = True  # only warnings so far: ends without a word to the streak
    failures: int = 0  # failing records, told or counted
    told: tuple[str, ...] = ()  # the event types already told, each once per run
    occurrence: int = 0  # grows when a row leaves a terminal state and fails again
    stuck: str | None = None  # the id of the stuck_run event, while it is open
    beat: datetime | None = None  # its last sign of life but its start, give or take half of `stuck_after`
    epoch: int = 0  # of the log, when the run began

    @property
    def last_sign(self) -> datetime:
        """When it last showed that it is alive: at its start, or by a heartbeat."""
        return self.start.at if self.beat is None else max(self.start.at, self.beat)


@dataclass(slots=True)
class Streak:
    """A schedule's memory: the newest run outcomes, and the announcement if there is one."""

    schedule: str
    outcomes: tuple[RunOutcome, ...] = ()  # by position, oldest first, bounded
    newest_start: Position | None = None  # of the run that began last
    number: int = 0  # how many streaks of this schedule were announced before
    announced: str | None = None  # the id of the consecutive_failures event, while it is open
    announced_at: datetime | None = None
    failed_runs: int = 0  # since the streak began, while announced
    since: datetime | None = None  # the first failure of the announced streak
    failed_since_told: bool = False
    reminders: int = 0
    remind_at: datetime | None = None
    connector_id: str | None = None
    entity_type: str | None = None
    tenant_id: str | None = None
    schedule_id: str | None = None
    touched: datetime | None = None  # when a record of the schedule was read last
    last_error: str | None = None  # what the newest of its failures said, cut


class RunOutcome(NamedTuple):
    """One run's contribution to its streak."""

    position: Position
    run_id: str
    failed: bool


class Closes(NamedTuple):
    """What a closing event closes."""

    id: str
    event_type: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was found; immutable once made. The JSON names are the field names.

    `timestamp` is when it happened according to the log; `id` is a hash of what it is about,
    so the same occurrence has the same id for ever.
    """

    id: str
    event_type: EventType
    severity: Severity
    title: str
    message: str
    timestamp: datetime
    connector_id: str | None = None
    entity_type: str | None = None
    error_type: str | None = None
    tenant_id: str | None = None
    schedule_id: str | None = None
    run_id: str | None = None
    source: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    suggested_actions: tuple[str, ...] = ()
    closes: Closes | None = None

    def as_json(self) -> dict[str, Any]:
        """The event as the API, webhooks and `--json` show it."""
        return {
            "id": self.id,
            "event_type": self.event_type.value,
            "severity": self.severity.value,
            "title": self.title,
            "message": self.message,
            "connector_id": self.connector_id,
            "entity_type": self.entity_type,
            "error_type": self.error_type,
            "tenant_id": self.tenant_id,
            "schedule_id": self.schedule_id,
            "run_id": self.run_id,
            "source": self.source,
            "details": dict(self.details),
            "suggested_actions": list(self.suggested_actions),
            "timestamp": rfc3339(self.timestamp),
            "closes": self.closes._asdict() if self.closes else None,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """An event together with where detection found it; what planning needs beside the event.

    `condition` is the id of the open streak's announcement that the event belongs to: its own id
    for the announcement itself, the announcement's for a reminder and for the failures that follow.
    `about` is the id of the config that the event is about, if it is about one; `alone`, of the only one to be told.
    """

    event: Event
    schedule: str | None = None
    record_key: str | None = None
    condition: str | None = None
    about: str | None = None
    alone: str | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """The filter has nothing against it."""

    bug: str | None = None  # a filter that failed counts as Pass, and this says how it failed


@dataclass(frozen=True, slots=True)
class Drop:
    """Not for this config, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Later, and why."""

    until: datetime
    reason: str = ""


Verdict = Pass | Drop | Hold


class Reason(enum.StrEnum):
    """Why a notification was sent."""

    FIRST = "first"  # the first event of a group
    DIGEST = "digest"  # what gathered in a window
    HELD = "held"  # what a filter held back until now
    FLOOD = "flood"  # what gathered as there was more than may be told within a minute
    RECOVERY = "recovery"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Notification:
    """What one config is told: one event, or a digest of several.

    `event` is the headline: the event itself, or a summary written for the digest. `events` are the
    events told, at most a page of samples (oldest first); `count` is how many there really are. `missed` counts
    events that expired before this config could be told of them, which the headline's message says too.
    """

    id: str
    config: str
    reason: Reason
    event: Event
    events: tuple[Event, ...]
    count: int
    first_at: datetime
    last_at: datetime
    thread: str | None = None  # the condition that it is about: what belongs together has the same
    missed: int = 0

    @property
    def is_digest(self) -> bool:
        """Whether it tells more than one event."""
        return self.count > 1

    def as_json(self) -> dict[str, Any]:
        """The webhook body: the headline's fields at the top level, plus "notification"."""
        return {
            **self.event.as_json(),
            "notification": {
                "id": self.id,
                "config": self.config,
                "reason": self.reason.value,
                "count": self.count,
                "missed": self.missed,
                "thread": self.thread,
                "first_at": rfc3339(self.first_at),
                "last_at": rfc3339(self.last_at),
                "events": [event.as_json() for event in self.events],
            },
        }


class Result(enum.StrEnum):
    """How one attempt ended. `bug` is an exception that is neither Retry nor Reject."""

    SENT = "sent"
    RETRY = "retry"
    REJECTED = "rejected"
    BUG = "bug"
    UNKNOWN = "unknown"  # the daemon stopped in the middle


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt. `after` is the receiver's own wish for when to come again, in seconds."""

    result: Result
    reason: str = ""
    status_code: int | None = None
    after: float | None = None


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: `2026-11-24T21:00:00.123456Z`. Fixed width, so it sorts as text."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
