"""Asking the filters: one verdict for each event and config.

Drop beats Hold, the latest Hold wins. A filter that raises, is too slow or answers nonsense counts
as Pass, with the bug in the verdict: a broken filter may tell too much, never too little.
"""

from __future__ import annotations

import reprlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from notifyd.api import Drop, Event, Filter, FilterContext, Hold, Pass, Verdict
from notifyd.core.ids import config_id
from notifyd.core.plan import Recipient
from notifyd.errors import NotifydError
from notifyd.plugin_host import Registry
from notifyd.settings import NotificationSettings

Verdicts = dict[tuple[str, str], Verdict]  # by (event id, config id)

PATIENCE = 10.0
"""Seconds that one batch of events may spend in all filters together."""

_BUG_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class Gate:
    """One config's filters, by name."""

    recipient: Recipient
    filters: Mapping[str, Filter[Any]]


def recipient_of(notification: NotificationSettings) -> Recipient:
    """The config as planning sees it."""
    group, identity = notification.group, notification.id or config_id(notification.name)
    return Recipient(identity, notification.name, group.window, group.by, notification.system)


def gate_of(notification: NotificationSettings, registry: Registry) -> Gate:
    """The config with its filters made from their options. NotifydError where one cannot be made."""
    filters = {name: _made(notification, registry, name) for name in notification.filters}
    return Gate(recipient_of(notification), filters)


def _made(notification: NotificationSettings, registry: Registry, name: str) -> Filter[Any]:
    try:
        return registry.filters[name].cls(notification.filters[name])
    except Exception as error:
        problem = f"{notification.where}: config {notification.name}: the filter {name} has a bug: {text_of(error)}"
        raise NotifydError(problem) from error


def ask(gates: Sequence[Gate], events: Sequence[Event], now: datetime, patience: float = PATIENCE) -> Verdicts:
    """Ask every config's filters about every event; blocks for at most `patience` seconds.

    The filters run on a thread of their own: one that never answers is left behind with it.
    """
    work = [(event, gate) for event in events if not event.closes for gate in gates if gate.filters]
    if not work:
        return {}
    asked = _Asked(work, now)
    thread = threading.Thread(target=asked.run, name="filters", daemon=True)
    thread.start()
    thread.join(patience)
    return asked.verdicts if not thread.is_alive() else asked.cut_short(patience)


class _Asked:
    def __init__(self, work: Sequence[tuple[Event, Gate]], now: datetime) -> None:
        self.work, self.now = work, now
        self.verdicts: Verdicts = {}
        self.current = ""

    def run(self) -> None:
        for event, gate in self.work:
            ctx = FilterContext(self.now, gate.recipient.name)
            self.verdicts[event.id, gate.recipient.id] = self._verdict(gate, event, ctx)

    def cut_short(self, patience: float) -> Verdicts:
        """What was decided in time; the rest passes, and says which filter was at work."""
        late = Pass(bug=f"filter {self.current} took longer than {patience:g} s: counted as Pass")
        pairs = [(event.id, gate.recipient.id) for event, gate in self.work]
        decided = dict(self.verdicts)
        return {pair: decided.get(pair, late) for pair in pairs}

    def _verdict(self, gate: Gate, event: Event, ctx: FilterContext) -> Verdict:
        held: Hold | None = None
        bugs: list[str] = []
        for name, each in gate.filters.items():
            self.current = name
            verdict = _one(name, each.decide, event, ctx)
            if isinstance(verdict, Drop):
                return verdict
            if isinstance(verdict, Hold):
                held = verdict if held is None or verdict.until > held.until else held
            elif verdict.bug:
                bugs.append(verdict.bug)
        return held or Pass(bug="; ".join(bugs) or None)


def _one(name: str, decide: Callable[[Event, FilterContext], Verdict], event: Event, ctx: FilterContext) -> Verdict:
    try:
        verdict = decide(event, ctx)
    except BaseException as error:  # also SystemExit: it ends a filter's opinion, not the daemon
        return Pass(bug=f"filter {name} failed, counted as Pass: {text_of(error)}"[:_BUG_LENGTH])
    if _makes_sense(verdict):
        return verdict
    return Pass(bug=f"filter {name} answered {reprlib.repr(verdict)}, counted as Pass"[:_BUG_LENGTH])


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


def text_of(error: BaseException) -> str:
    """What an exception says; only its kind, where its text fails too."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
