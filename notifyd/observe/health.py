"""What each of the daemon's loops did last: the answer to `/healthz`, `/readyz` and systemd's watchdog.

A turn that failed is a turn: a dead database or a full disk is told, and no restart would mend it. What counts
as stuck is a part that ends no turn at all. Sources count together: one that hangs is left behind and told of,
and the others go on; where all of them hang, nothing is read any more.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from notifyd.model import rfc3339

SENDER = "sender"
STORE = "store"
SCHEDULER = "scheduler"
STATE = "state"
LOOPS = (SENDER, STORE, SCHEDULER)
"""What turns by itself, every few seconds. The event loop is whoever asks."""

STALLED_AFTER = 60.0
"""Seconds without a turn after which a loop is stuck. Idle, it turns every few seconds."""

STATE_DB = "the state DB "
"""How a note begins that is about the state DB, whichever part came upon it."""

_SOURCE = "source:"


def source(name: str) -> str:
    """The part that polls the source `name`."""
    return f"{_SOURCE}{name}"


def channel(name: str) -> str:
    """The part that delivers to the config `name`: here only while it fails."""
    return f"channel:{name}"


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a part; a failed turn is a turn too, and `note` says what failed.

    `ended` and `well_at` (the last turn that did not fail) are moments of the monotonic clock. `hangs` is true
    where nothing came back at all, and what was at work was left behind.
    """

    at: datetime
    ok: bool
    note: str
    ended: float
    well_at: float | None
    hangs: bool = False


class Health:
    """The last turn of each part. Several threads and the event loop write it, others read it.

    `monotonic` gives seconds of a clock that nobody sets.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._turns: dict[str, Turn] = {}
        self._late: dict[str, float] = {}  # since when
        self._monotonic = monotonic
        self._began = monotonic()
        self._counts: Counter[tuple[str, bool]] = Counter()
        self.refused: tuple[str, ...] = ()  # what is wrong with the settings that were read last
        self.reloads: Counter[str] = Counter()  # by outcome: ok, refused
        self.unopened: Callable[[], dict[str, str]] = dict  # why a channel did not open, by the name of its config

    def turn(self, name: str, now: datetime, ok: bool, note: str = "", *, hangs: bool = False) -> None:
        """Record that the part `name` (of `LOOPS`, `STATE`, `source(…)` or `channel(…)`) has just completed a turn."""
        ended = self._monotonic()
        with self._lock:
            before = self._turns.get(name)
            well_at = ended if ok else before.well_at if before else None
            self._turns[name] = Turn(now, ok, note, ended, well_at, hangs)
            self._counts[name, ok] += 1
            if ok:
                self._late.pop(name, None)

    def forget(self, name: str) -> None:
        """There is no such part any more."""
        with self._lock:
            self._turns.pop(name, None)

    def late(self, name: str) -> None:
        """Record that a source was read, but not to its end: it is behind until its next turn that does not fail."""
        with self._lock:
            self._late.setdefault(name, self._monotonic())

    def keep(self, sources: Iterable[str]) -> None:
        """Forget every source but these."""
        gone = {name for name in self._now() if name.startswith(_SOURCE)} - set(map(source, sources))
        with self._lock:
            self._turns = {name: turn for name, turn in self._turns.items() if name not in gone}
            self._late = {name: since for name, since in self._late.items() if name not in gone}

    def report(self) -> dict[str, dict[str, Any]]:
        """Each part's last turn, for JSON: {part: {"ok", "last_turn", "seconds_ago", "note"}}, by name."""
        now = self._monotonic()
        return {
            name: {
                "ok": turn.ok,
                "last_turn": rfc3339(turn.at),
                "seconds_ago": round(now - turn.ended, 3),
                "note": turn.note,
            }
            for name, turn in sorted(self._now().items())
        }

    def waiting_for(self, expected: Iterable[str]) -> list[str]:
        """The parts among `expected` that have not turned yet, in that order."""
        turns = self._now()
        return [name for name in expected if name not in turns]

    def ready(self, expected: Iterable[str]) -> bool:
        """Whether every source has been tried once, successfully or not, and the sender has turned."""
        return not self.waiting_for(expected)

    def stuck(self, limit: float = STALLED_AFTER) -> list[str]:
        """What does not turn any more, a line each: where there is one, a restart is due."""
        turns, now = self._now(), self._monotonic()
        quiet = {name: now - (turns[name].ended if name in turns else self._began) for name in LOOPS}
        late = {name: seconds for name, seconds in quiet.items() if seconds > limit}
        lines = [f"the {name} has ended no turn for {seconds:.0f} s" for name, seconds in late.items()]
        sources = [turn for name, turn in turns.items() if name.startswith(_SOURCE)]
        if sources and all(turn.hangs for turn in sources):
            lines.append("no source answers, and what reads them hangs")
        return lines

    def state_trouble(self) -> str:
        """Why the state DB cannot be used, and what to do; empty while it can be."""
        failed = [turn.note for turn in self._now().values() if not turn.ok]
        return next((note for note in failed if note.startswith(STATE_DB)), "")

    def unopened_channels(self) -> list[str]:
        """The channels that did not open, a line each."""
        return [
            f"the channel of {name} did not open, and is tried again: {why}" for name, why in self.unopened().items()
        ]

    def behind(self) -> float:
        """Seconds since the source that is the furthest behind was read to its end; 0 where none is behind."""
        return max(self.lags().values(), default=0.0)

    def lags(self) -> dict[str, float]:
        """Of each source's part, seconds since it was read to its end; 0 where it is not behind."""
        with self._lock:
            since = dict(self._late)
            names = [name for name in self._turns if name.startswith(_SOURCE)]
            for name in names:
                if not (turn := self._turns[name]).ok:
                    since[name] = self._began if turn.well_at is None else turn.well_at
        now = self._monotonic()
        return {name: now - since[name] if name in since else 0.0 for name in {*names, *since}}

    def counts(self) -> dict[tuple[str, bool], int]:
        """How many turns each part has had since the start: (part, whether they went well)."""
        with self._lock:
            return dict(self._counts)

    def _now(self) -> dict[str, Turn]:
        with self._lock:
            return dict(self._turns)
