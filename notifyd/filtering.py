"""Asking the filters: one verdict for each event and config.

Drop beats Hold, the latest Hold wins. A filter that raises, is too slow or answers nonsense counts
as Pass, with the bug in the verdict: a broken filter may tell too much, never too little.
"""

from __future__ import annotations

import reprlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from notifyd.api import Drop, Event, Filter, FilterContext, Hold, Pass, Verdict
from notifyd.api.masking import masked_here, masking, secrets_of
from notifyd.core.ids import config_id
from notifyd.core.plan import Recipient
from notifyd.errors import NotifydError, text_of
from notifyd.plugin_host import Registry
from notifyd.settings import NotificationSettings

Verdicts = dict[tuple[str, str], Verdict]  # by (event id, config id)

PATIENCE = 10.0
"""Seconds that one batch of events may spend in all filters together, before the slowest is left behind."""

ROUNDS = 3
"""How many filters a batch leaves behind, before it is planned without asking any more."""

LONG = 0.5
"""Seconds for one decision after which a filter is named, once: others wait for it, though not in vain yet."""

SKIPPED_FOR = 300.0
"""Seconds for which a filter that took too long is not asked."""

_BUG_LENGTH = 1000

log = structlog.get_logger("notifyd.filtering")


@dataclass(frozen=True, slots=True)
class Gate:
    """One config's filters, by name."""

    recipient: Recipient
    filters: Mapping[str, Filter[Any]]
    secrets: tuple[str, ...] = ()
    slow: dict[str, tuple[float, str]] = field(default_factory=dict, compare=False)  # until when, and why
    named: set[str] = field(default_factory=set, compare=False)  # the filters that took long

    def name_slow(self, name: str, seconds: float) -> None:
        """This filter took long for one decision: that is said once."""
        if name not in self.named:
            self.named.add(name)
            mend = "a filter is to do no I/O; one that takes a batch longer than its patience is skipped"
            took = round(seconds, 1)
            log.warning("a filter is slow", config=self.recipient.name, filter=name, seconds=took, mend=mend)

    def skip(self, name: str, patience: float) -> None:
        """This filter took too long: it is not asked for a while."""
        bug = f"filter {name} took longer than {patience:g} s: counted as Pass"
        self.slow[name] = (time.monotonic() + SKIPPED_FOR, bug)
        log.warning(
            "a filter is too slow, and is skipped", config=self.recipient.name, filter=name, seconds=SKIPPED_FOR
        )

    def skipped(self, name: str) -> Pass | None:
        """What counts as its answer, while it is not asked."""
        if (found := self.slow.get(name)) is None:
            return None
        until, bug = found
        if time.monotonic() < until:
            return Pass(bug=bug)
        self.slow.pop(name, None)
        return None


def recipient_of(notification: NotificationSettings) -> Recipient:
    """The config as planning sees it."""
    group, identity = notification.group, notification.id or config_id(notification.name)
    return Recipient(identity, notification.name, group.window, group.by, notification.system)


def gate_of(notification: NotificationSettings, registry: Registry) -> Gate:
    """The config with its filters made from their options. NotifydError where one cannot be made."""
    secrets = secrets_of(notification.filters)
    with at_work(notification.name, secrets):
        filters = {name: _made(notification, registry, name) for name in notification.filters}
    return Gate(recipient_of(notification), filters, secrets)


@contextmanager
def at_work(config: str, secrets: tuple[str, ...]) -> Iterator[None]:
    """A plugin of this config is at work in here: what it logs or prints by itself says so, and no secret."""
    with structlog.contextvars.bound_contextvars(config=config), masking(secrets):
        yield


def _made(notification: NotificationSettings, registry: Registry, name: str) -> Filter[Any]:
    try:
        return registry.filters[name].cls(notification.filters[name])
    except BaseException as error:
        problem = f"{notification.where}: config {notification.name}: the filter {name} has a bug: {text_of(error)}"
        raise NotifydError(masked_here(problem)) from error


def ask(
    gates: Sequence[Gate], events: Sequence[Event], now: datetime, patience: float = PATIENCE, long: float = LONG
) -> Verdicts:
    """Ask every config's filters about every event; blocks for a few times `patience` seconds at most.

    One that takes `long` for a decision is named. The filters run on a thread of their own. Where they take too long,
    the slowest of them is left behind with its thread, and skipped for a while; the others are asked on.
    """
    work = [(event, gate) for event in events if not event.closes for gate in gates if gate.filters]
    verdicts: Verdicts = {}
    for _ in range(ROUNDS):
        asked = _Round([pair for pair in work if _key(*pair) not in verdicts], now, long)
        late = not asked.done_within(patience)
        verdicts |= dict(asked.verdicts)
        if not late:
            return verdicts
    late_pass = Pass(bug=f"the filters took longer than {ROUNDS * patience:g} s: counted as Pass")
    return {_key(*pair): verdicts.get(_key(*pair), late_pass) for pair in work}


def _key(event: Event, gate: Gate) -> tuple[str, str]:
    return event.id, gate.recipient.id


class _Round:
    """One go through what is still to be asked, on a thread that can be left behind."""

    def __init__(self, work: Sequence[tuple[Event, Gate]], now: datetime, long: float) -> None:
        self.work, self.now, self.long = work, now, long
        self.verdicts: Verdicts = {}
        self._spent: dict[tuple[str, str], float] = {}  # seconds, by config and filter
        self._at: tuple[Gate, str] | None = None
        self._since = 0.0
        self._left = False

    def done_within(self, patience: float) -> bool:
        """Whether all of it was; if not, the slowest filter is skipped from now on."""
        if not self.work:
            return True
        thread = threading.Thread(target=self._run, name="filters", daemon=True)
        thread.start()
        thread.join(patience)
        if not thread.is_alive():
            return True
        self._left = True
        self._skip_the_slowest(patience)
        return False

    def _run(self) -> None:
        for event, gate in self.work:
            if self._left:
                return
            with at_work(gate.recipient.name, gate.secrets):
                verdict = self._verdict(gate, event, FilterContext(self.now, gate.recipient.name))
            if not self._left:
                self.verdicts[_key(event, gate)] = verdict

    def _verdict(self, gate: Gate, event: Event, ctx: FilterContext) -> Verdict:
        held: Hold | None = None
        bugs: list[str] = []
        for name, each in gate.filters.items():
            verdict = gate.skipped(name) or self._timed(gate, name, each, event, ctx)
            if isinstance(verdict, Drop):
                return verdict
            if isinstance(verdict, Hold):
                held = verdict if held is None or verdict.until > held.until else held
            elif verdict.bug:
                bugs.append(verdict.bug)
        return held or Pass(bug="; ".join(bugs) or None)

    def _timed(self, gate: Gate, name: str, each: Filter[Any], event: Event, ctx: FilterContext) -> Verdict:
        self._since, self._at = time.monotonic(), (gate, name)
        verdict = _one(name, each.decide, event, ctx)
        if (seconds := self._spend()) >= self.long:
            gate.name_slow(name, seconds)
        return verdict

    def _spend(self) -> float:
        """Book the time of what it is at; how long that has taken, in seconds."""
        seconds = 0.0
        if self._at:
            key, seconds = (self._at[0].recipient.id, self._at[1]), time.monotonic() - self._since
            self._spent[key] = self._spent.get(key, 0.0) + seconds
        return seconds

    def _skip_the_slowest(self, patience: float) -> None:
        self._spend()  # what it is at now counts too
        slowest = max(dict(self._spent).items(), key=lambda item: item[1])[0]
        for gate in {id(gate): gate for _, gate in self.work if gate.recipient.id == slowest[0]}.values():
            gate.skip(slowest[1], patience)


def _one(name: str, decide: Callable[[Event, FilterContext], Verdict], event: Event, ctx: FilterContext) -> Verdict:
    try:
        verdict = decide(event, ctx)
    except BaseException as error:  # also SystemExit: it ends a filter's opinion, not the daemon
        return Pass(bug=masked_here(f"filter {name} failed, counted as Pass: {text_of(error)}")[:_BUG_LENGTH])
    if _makes_sense(verdict):
        return verdict
    return Pass(bug=masked_here(f"filter {name} answered {reprlib.repr(verdict)}, counted as Pass")[:_BUG_LENGTH])


def _makes_sense(verdict: Any) -> bool:
    """Whether it can be kept: an answer with the right fields in it, and a time that has a place in UTC."""
    match verdict:
        case Pass(bug=None | str()) | Drop(reason=str()):
            return True
        case Hold(until=datetime() as until, reason=str()) if until.utcoffset() is not None:
            return _is_in_utc(until)
    return False


def _is_in_utc(moment: datetime) -> bool:
    try:
        moment.astimezone(UTC)
    except OverflowError:
        return False
    return True
