"""What each of the daemon's loops did last: the answer to `/healthz` and `/readyz`."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from notifyd.model import rfc3339

SENDER = "sender"
STATE = "state"


def source(name: str) -> str:
    """The part that polls the source `name`."""
    return f"source:{name}"


class Turn(NamedTuple):
    """One turn of a part; a failed turn is a turn too, and `note` says what failed."""

    at: datetime
    ok: bool
    note: str


class Health:
    """The last turn of each part. Source threads and the event loop write it, the web server reads it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: dict[str, Turn] = {}

    def turn(self, name: str, now: datetime, ok: bool, note: str = "") -> None:
        """Record that the part `name` (`SENDER`, `STATE`, or `source(NAME)`) has just completed a turn."""
        with self._lock:
            self._turns[name] = Turn(now, ok, note)

    def report(self, now: datetime) -> dict[str, dict[str, Any]]:
        """Each part's last turn, for JSON: {part: {"ok", "last_turn", "seconds_ago", "note"}}, by name."""
        with self._lock:
            turns = sorted(self._turns.items())
        return {
            name: {
                "ok": turn.ok,
                "last_turn": rfc3339(turn.at),
                "seconds_ago": round((now - turn.at).total_seconds(), 3),
                "note": turn.note,
            }
            for name, turn in turns
        }

    def waiting_for(self, expected: Iterable[str]) -> list[str]:
        """The parts among `expected` that have not turned yet, in that order."""
        with self._lock:
            return [name for name in expected if name not in self._turns]

    def ready(self, expected: Iterable[str]) -> bool:
        """Whether every source has been tried once, successfully or not, and the sender has turned."""
        return not self.waiting_for(expected)
