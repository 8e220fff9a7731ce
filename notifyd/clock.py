"""What time it is: an argument of everything that asks. And the beat: when whatever turns every so often does so."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Now, aware, in UTC."""
    return datetime.now(UTC)


def since_beat(every: float = 1.0) -> float:
    """Seconds since the last beat, by a clock that nobody sets."""
    return time.monotonic() % every


def until_beat(every: float = 1.0) -> float:
    """Seconds to the next one. What turns by it turns together, and to wake up costs more than most of it does."""
    return every - since_beat(every)
