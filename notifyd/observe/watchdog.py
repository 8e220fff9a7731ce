"""systemd's watchdog: it is told to go on only while every part of the daemon ends its turns.

It runs on the event loop, so a loop that is stuck says nothing by itself; for the rest it asks `Health`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from notifyd.observe.health import STALLED_AFTER

LONGEST_PAUSE = 5.0
"""Seconds between two looks, at most: how old the status line may be."""


class Watchdog:
    """What systemd expects of this process (sd_watchdog_enabled(3)). Times are in seconds.

    `limit` is how long a part may take for one turn: half of the time after which systemd kills, and two turns of an
    idle one, which come every `turn`, however short that is.
    """

    def __init__(self, turn: float, environ: Mapping[str, str] = os.environ) -> None:
        self.period = _period(environ)
        self.limit = max(2 * turn, min(STALLED_AFTER, self.period / 2)) if self.period else STALLED_AFTER
        self.pause = min(LONGEST_PAUSE, self.period / 4) if self.period else LONGEST_PAUSE

    def lines(self, stuck: list[str]) -> list[str]:
        """The assignment that keeps the process alive; none where something is stuck."""
        return ["WATCHDOG=1"] if self.period and not stuck else []


def _period(environ: Mapping[str, str]) -> float:
    """0.0 where systemd does not watch, or watches another process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if text.isascii() and text.isdigit() else 0.0
