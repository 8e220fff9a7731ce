"""Asking the filters: one verdict for each event and config.

Drop beats Hold, the latest Hold wins. A filter that raises, is too slow or answers nonsense counts
as Pass, with the bug in the verdict: a broken filter may tell too much, never too little.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from notifyd.api import Drop, Event, Filter, FilterContext, Hold, Pass, Verdict
from notifyd.core.ids import config_id
from notifyd.core.plan import Recipient
from notifyd.plugin_host import Registry
from notifyd.settings import NotificationSettings

Verdicts = dict[tuple[str, str], Verdict]  # by (event id, config id)

PATIENCE = 10.0
"""Seconds that one batch of events may spend in all filters together."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One config's filters, by name."""

    recipient: Recipient
    filters: Mapping[str, Filter[Any]]


def recipient_of(notification: NotificationSettings) -> Recipient:
    """The config as planning sees it."""
    group = notification.group
    return Recipient(config_id(notification.name), notification.name, group.window, group.by, notification.system)


def gate_of(notification: NotificationSettings, registry: Registry) -> Gate:
    """The config with its filters made from their options."""
    filters = {name: registry.filters[name].cls(options) for name, options in notification.filters.items()}
    return Gate(recipient_of(notification), filters)


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
        return Pass(bug=f"filter {name} failed, counted as Pass: {type(error).__name__}: {error}")
    return verdict if _makes_sense(verdict) else Pass(bug=f"filter {name} answered {verdict!r}, counted as Pass")


def _makes_sense(verdict: Any) -> bool:
    if isinstance(verdict, Hold):
        until: object = verdict.until
        return isinstance(until, datetime) and until.tzinfo is not None
    return isinstance(verdict, Pass | Drop)
