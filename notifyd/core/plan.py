"""Planning: who is told of an event, when, and together with what.

    plan(findings, recipients, verdicts, view, now) → Plan(decisions, new deliveries, joined members, windows)

For each event and each config one decision: planned, dropped (a filter), folded (the config was told
of the streak) or held (a filter, until a time). The first event of a group leaves at once; those that
follow within the window gather in one digest. Closing events skip the filters and go to exactly the
configs that were told of what they close.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache

from notifyd.core.ids import delivery_id
from notifyd.model import SYSTEM_EVENTS, Drop, Event, EventType, Finding, Hold, Pass, Reason, Severity, Verdict


@dataclass(frozen=True, slots=True)
class Recipient:
    """A config, as far as planning needs it. `by` are event fields; a window of zero sends each event by itself."""

    id: str
    name: str
    window: timedelta = timedelta(minutes=5)
    by: tuple[str, ...] = ("event_type", "connector_id")
    system: bool = False


class Decided(enum.StrEnum):
    """What was decided about one event for one config."""

    PLANNED = "planned"
    DROPPED = "dropped"
    FOLDED = "folded"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Decision:
    """One verdict, kept with the event for ever. `reason` is the answer to "why was I (not) told?"."""

    event_id: str
    config_id: str
    decided: Decided
    reason: str = ""
    delivery_id: str | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A row for the outbox. `gathering` is due at the end of its window, the others at once."""

    id: str
    config_id: str
    group_key: str
    reason: Reason
    due_at: datetime
    gathering: bool
    closing: bool
    count: int = 1


GroupKey = tuple[str, str]  # config id, group key


@dataclass(frozen=True, slots=True)
class Group:
    """A group of one config: `until` when its window is open; `waiting` while a delivery of it is unsent;
    `gathering` is the digest that takes members, if there is one."""

    until: datetime | None = None
    waiting: bool = False
    gathering: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """That a config was told of a condition, and of what severity; `open_delivery` still takes members."""

    severity: Severity
    open_delivery: str | None = None


@dataclass(slots=True)
class View:
    """What planning has to know of the outbox: the groups and conditions that the findings touch."""

    groups: dict[GroupKey, Group] = field(default_factory=dict)
    told: dict[tuple[str, str], Told] = field(default_factory=dict)  # (condition, config id)
    held: dict[tuple[str, str], datetime] = field(default_factory=dict)  # conditions that a config will be told of then


@dataclass(slots=True)
class Plan:
    """What is to be written. `joined` counts the new members of deliveries that existed before."""

    decisions: list[Decision] = field(default_factory=list)
    deliveries: dict[str, NewDelivery] = field(default_factory=dict)
    joined: dict[str, int] = field(default_factory=dict)
    closing: set[str] = field(default_factory=set)  # deliveries, new or joined, that tell an end
    windows: dict[GroupKey, datetime] = field(default_factory=dict)


Ask = Callable[[Event, Recipient], Verdict]


def group_key(event: Event, by: tuple[str, ...]) -> str:
    """Which of a config's groups the event belongs to: the values of the fields that it groups by."""
    return _group_key(tuple(_value(event, name) for name in by))


def _value(event: Event, name: str) -> object:
    """A log without connectors is grouped by its schedules: one job's first error does not wait for another's."""
    return event.connector_id or event.schedule_id if name == "connector_id" else getattr(event, name)


@lru_cache(maxsize=4096)
def _group_key(values: tuple[object, ...]) -> str:
    return json.dumps([None if value is None else str(getattr(value, "value", value)) for value in values])


def condition_of(finding: Finding) -> str | None:
    """The condition whose recipients decide about this event."""
    return finding.event.closes.id if finding.event.closes else finding.condition


def plan(
    findings: Sequence[Finding],
    recipients: Sequence[Recipient],
    verdicts: Mapping[tuple[str, str], Verdict],
    view: View,
    now: datetime,
) -> Plan:
    """Decide about each finding for each recipient. `verdicts` are the filters' by (event id, config id);
    a pair that is missing counts as Pass. `view` is left as it was."""
    planner = _Planner(view, now)
    for finding in findings:
        for recipient in recipients:
            if why := _not_addressed(finding, recipient, recipients):
                planner.spare(finding.event, recipient, why)
            else:
                planner.decide(finding, recipient, verdicts.get((finding.event.id, recipient.id), Pass()))
    return planner.plan


def release(held: Iterable[tuple[Finding, Recipient, str]], view: View, now: datetime) -> Plan:
    """Plan the events whose hold has ended, (finding, recipient, why held): one digest per config and group."""
    planner = _Planner(view, now)
    for finding, recipient, why in held:
        planner.release(finding, recipient, why)
    return planner.plan


def _not_addressed(finding: Finding, recipient: Recipient, recipients: Sequence[Recipient]) -> str:
    """Why an event about notifyd itself is not for this config: such events go to those with `system = true`, or to
    all if there is none, and never to the one that they are about."""
    if finding.event.event_type not in SYSTEM_EVENTS:
        return ""
    if finding.alone:
        return "" if recipient.id == finding.alone else "it is for another config alone"
    if recipient.id == finding.about:
        return "it is about this config itself"
    others = any(r.system for r in recipients if r.id != finding.about)
    return (
        "about notifyd itself, which the configs with `system = true` are told"
        if others and not recipient.system
        else ""
    )


def _tells(finding: Finding) -> bool:
    """Whether this is what tells of its condition: what opened it, or a streak's reminder."""
    return finding.condition == finding.event.id or finding.event.event_type is EventType.CONSECUTIVE_FAILURES


class _Planner:
    def __init__(self, view: View, now: datetime) -> None:
        self.groups, self.told, self.held, self.now = dict(view.groups), dict(view.told), dict(view.held), now
        self.plan = Plan()
        self.stuck: dict[GroupKey, str] = {}  # the leading edges of this plan that tell of stuck runs

    def spare(self, event: Event, recipient: Recipient, why: str) -> None:
        """The event is not for this config."""
        self._note(event, recipient, Decided.DROPPED, why)

    def decide(self, finding: Finding, recipient: Recipient, verdict: Verdict) -> None:
        event = finding.event
        if event.closes:
            self._close(event, recipient)
        elif isinstance(verdict, Drop):
            self._note(event, recipient, Decided.DROPPED, verdict.reason)
        elif told := self._folds(finding, recipient):
            self._note(
                event,
                recipient,
                Decided.FOLDED,
                f"part of the streak {finding.condition}, which is told ({told.severity.value})",
            )
        elif isinstance(verdict, Hold) and verdict.until > self.now:
            self._note(event, recipient, Decided.HELD, verdict.reason, until=verdict.until)
            if finding.condition is not None and _tells(finding):
                self.held[finding.condition, recipient.id] = verdict.until
        else:
            why = (verdict.bug or "") if isinstance(verdict, Pass) else ""
            self._remember(finding, recipient, self._send(event, recipient, why))

    def release(self, finding: Finding, recipient: Recipient, why: str) -> None:
        event = finding.event
        if event.closes:
            self._close(event, recipient)
            return
        key = (recipient.id, group_key(event, recipient.by))
        digest = self._digest_of(key) or self._open(event, recipient, key, Reason.HELD, self.now, gathering=False)
        if digest in self.plan.deliveries:
            # Everything of one group that was held leaves in one message, also where the window is zero.
            self.groups[key] = replace(self.groups.get(key, Group()), gathering=digest)
            self.plan.windows[key] = self.now + recipient.window
        self._remember(finding, recipient, self._join(event, recipient, digest, f"was held: {why}"))

    # -- closing and folding ---------------------------------------------------------------------

    def _close(self, event: Event, recipient: Recipient) -> None:
        """To exactly the configs that were told; together with what it closes, if that still waits."""
        condition = (event.closes.id if event.closes else "", recipient.id)
        told = self.told.get(condition)
        if told is None and condition in self.held:
            self._note(event, recipient, Decided.HELD, "waits for what it closes", until=self.held[condition])
            return
        if told is None:
            self._note(event, recipient, Decided.DROPPED, "was not told of what this closes")
            return
        delivery = told.open_delivery
        if delivery:
            self._join(event, recipient, delivery, "leaves together with what it closes")
        else:
            delivery = self._send(event, recipient, "", reason=Reason.RECOVERY)
        self.plan.closing.add(delivery)

    def _folds(self, finding: Finding, recipient: Recipient) -> Told | None:
        """Whether the config was told of the streak that this belongs to, at least as severely."""
        event = finding.event
        if finding.condition is None or event.event_type is EventType.CONSECUTIVE_FAILURES:
            return None
        told = self.told.get((finding.condition, recipient.id))
        return told if told and event.severity <= told.severity else None

    def _remember(self, finding: Finding, recipient: Recipient, delivery: str) -> None:
        if finding.condition is not None and _tells(finding):
            self.told[finding.condition, recipient.id] = Told(finding.event.severity, delivery)

    # -- grouping --------------------------------------------------------------------------------

    def _send(self, event: Event, recipient: Recipient, why: str, reason: Reason = Reason.FIRST) -> str:
        """The leading edge leaves at once; what follows within the window gathers."""
        key = (recipient.id, group_key(event, recipient.by))
        group = self.groups.get(key, Group())
        if not recipient.window:
            return self._alone(event, recipient, key, why, reason)
        if together := self._found_together(event, key):
            return self._join(event, recipient, together, why or "found at the same time")
        if digest := self._digest_of(key):
            return self._join(event, recipient, digest, why or "gathered in a digest")
        if group.waiting or (group.until is not None and group.until > self.now):
            due = max(group.until or self.now, self.now)
            digest = self._open(event, recipient, key, Reason.DIGEST, due, gathering=True)
            self.groups[key] = replace(group, gathering=digest)
            return self._join(event, recipient, digest, why or "gathered in a digest")
        delivery = self._alone(event, recipient, key, why, reason)
        until = self.now + recipient.window
        self.groups[key] = Group(until=until, waiting=True)
        self.plan.windows[key] = until
        if event.event_type is EventType.STUCK_RUN:
            self.stuck[key] = delivery
        return delivery

    def _found_together(self, event: Event, key: GroupKey) -> str | None:
        """What tells of runs that were found stuck at one look: they are one piece of news, not a first and a rest."""
        delivery = self.stuck.get(key) if event.event_type is EventType.STUCK_RUN else None
        if delivery:
            self.plan.deliveries[delivery] = replace(self.plan.deliveries[delivery], reason=Reason.DIGEST)
        return delivery

    def _alone(self, event: Event, recipient: Recipient, key: GroupKey, why: str, reason: Reason) -> str:
        delivery = self._open(event, recipient, key, reason, self.now, gathering=False)
        return self._join(event, recipient, delivery, why or "sent at once")

    def _digest_of(self, key: GroupKey) -> str | None:
        group = self.groups.get(key)
        return group.gathering if group else None

    def _open(
        self, event: Event, recipient: Recipient, key: GroupKey, reason: Reason, due: datetime, *, gathering: bool
    ) -> str:
        identity = delivery_id(recipient.id, event.id)
        self.plan.deliveries[identity] = NewDelivery(identity, *key, reason, due, gathering, closing=False, count=0)
        return identity

    def _join(self, event: Event, recipient: Recipient, delivery: str, why: str) -> str:
        new = self.plan.deliveries.get(delivery)
        if new:
            self.plan.deliveries[delivery] = replace(new, count=new.count + 1)
        else:
            self.plan.joined[delivery] = self.plan.joined.get(delivery, 0) + 1
        self._note(event, recipient, Decided.PLANNED, why, delivery=delivery)
        return delivery

    def _note(
        self,
        event: Event,
        recipient: Recipient,
        decided: Decided,
        reason: str,
        *,
        delivery: str | None = None,
        until: datetime | None = None,
    ) -> None:
        self.plan.decisions.append(Decision(event.id, recipient.id, decided, reason, delivery, until))
