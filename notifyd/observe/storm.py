"""Keeps a storm from becoming a log storm: of lines that say the same, the first hundred of a minute are written.

What the line says counts, not its fields: "sent" for each of ten thousand deliveries is one kind of line. The rest
is counted, and the count is written when the minute is over. Nothing is lost by it: the history has every attempt.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

WINDOW = 60.0  # seconds
MOST = 100


class Kind(NamedTuple):
    """What makes two lines the same."""

    level: str
    logger: str
    event: str


@dataclass(slots=True)
class _Minute:
    began: float
    written: int = 0
    left_out: int = 0


class Storm:
    """See the module's docstring. Any thread may use it; `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._minutes: dict[Kind, _Minute] = {}
        self._lock = threading.Lock()

    def passes(self, kind: Kind) -> bool:
        """Whether a line of this kind is written; counts it."""
        now = self._monotonic()
        with self._lock:
            minute = self._minutes.setdefault(kind, _Minute(now))
            if minute.written >= MOST:
                minute.left_out += 1
                return False
            minute.written += 1
            return True

    def ended(self, *, all_of_them: bool = False) -> list[tuple[Kind, int]]:
        """The kinds whose minute is over, and how many of each were left out; call it every few seconds."""
        now = self._monotonic()
        with self._lock:
            over = [kind for kind, minute in self._minutes.items() if all_of_them or now - minute.began >= WINDOW]
            counts = [(kind, self._minutes.pop(kind).left_out) for kind in over]
        return [(kind, left_out) for kind, left_out in counts if left_out]
