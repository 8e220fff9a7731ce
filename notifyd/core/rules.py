"""What an admin may change about detection, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from notifyd.expression import Expression
from notifyd.model import EventType


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text that says what kind of failure a record is. The first match wins, before the built-in words.

    `event_type` None makes the record ignored. `connector` None is any connector.
    """

    matches: Expression
    event_type: EventType | None
    error_type: str | None = None
    connector: str | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """Suggested actions of the admin's own; they replace the built-in ones. A runbook link comes last."""

    actions: tuple[str, ...] = ()
    runbook: str | None = None
    connector: str | None = None
    event_type: EventType | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """How failures are classified and counted."""

    threshold: int = 3  # failed runs in a row
    remind_every: timedelta | None = timedelta(hours=24)
    patterns: tuple[Pattern, ...] = ()
    advice: tuple[Advice, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Which log the records come from: part of every event's identity.

    `rows` says what a row is: "runs", one run, whose status decides; or "records", one of many that
    share a run id. `epoch` grows when the log restarts or is restored.
    """

    source: str
    identity: str
    epoch: int = 0
    rows: Literal["records", "runs"] = "records"
    run_ends_after: timedelta = timedelta(minutes=10)
    stuck_after: timedelta | None = None  # None: a run may stay running for ever
    forget_after: timedelta | None = None  # after so long without a run a schedule is forgotten
    rewatch: timedelta | None = None  # how long a row that has ended is watched, in case it is run again
