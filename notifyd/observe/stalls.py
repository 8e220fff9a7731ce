"""Notices, from a thread of its own, when the event loop stands still, and looks where.

Everything waits while a plugin blocks the loop, this module's own callbacks too; so a thread watches a moment that
the loop keeps moving on. What it finds is said while it lasts, for there may be no afterwards.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import structlog

from notifyd.clock import since_beat, until_beat

STANDSTILL = 1.0
"""Seconds without a turn after which somebody is to blame."""

_LIBRARY = str(Path(threading.__file__).parent)

Blames = Callable[[FrameType, str], str | None]
"""From where the loop stands, and what is to be noted of it, to whose fault it is; None where nobody knows."""

log = structlog.get_logger("notifyd.observe.stalls")


class StallWatch:
    """Watches the loop that it is started on, until it is stopped."""

    def __init__(self, blames: Blames, standstill: float = STANDSTILL) -> None:
        self._blames, self._standstill = blames, standstill
        self._moved = time.monotonic()
        self._stopped = threading.Event()
        self._beating: asyncio.TimerHandle | None = None
        self._culprit: str | None = None
        self._where = ""

    def start(self) -> None:
        """Begin; on the loop's thread."""
        self._loop_thread = threading.get_ident()
        self._beat()
        self._thread = threading.Thread(target=self._watch, name="stalls", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        if self._beating:
            self._beating.cancel()
        self._thread.join()

    def _beat(self) -> None:
        self._moved = time.monotonic()
        self._beating = asyncio.get_running_loop().call_later(until_beat(self._standstill), self._beat)

    def _until_look(self) -> float:
        """To half way between two beats: by then a loop that turns has moved, and is no more at work."""
        return (1.5 * self._standstill - since_beat(self._standstill)) % self._standstill

    def _watch(self) -> None:
        began = 0.0
        while not self._stopped.wait(self._until_look()):
            seconds = time.monotonic() - self._moved
            if seconds > self._standstill:
                began = began or self._moved
                self._look(seconds, first=began == self._moved and not self._culprit)
            elif began:
                self._over(self._moved - began)
                began, self._culprit, self._where = 0.0, None, ""

    def _look(self, seconds: float, *, first: bool) -> None:
        """Note whose fault it is, and for how long by now; where it stood first is where it began."""
        frame = sys._current_frames().get(self._loop_thread)
        if frame is None:
            return
        where = self._where = self._where or place_of(frame)
        culprit = self._blames(frame, f"it blocked the daemon for {seconds:.1f} s, at {where}")
        if first:
            self._culprit = culprit or "notifyd"
            mend = "set isolate = true on this config" if culprit else None
            log.error("the event loop is blocked: nothing is read or sent", by=self._culprit, where=where, mend=mend)

    def _over(self, seconds: float) -> None:
        log.warning("the event loop turns again", blocked_by=self._culprit, seconds=round(seconds, 1))


def place_of(frame: FrameType) -> str:
    """Where it stands: the innermost frame outside of Python's own library."""
    frames = traceback.extract_stack(frame)
    own = [each for each in frames if not each.filename.startswith((_LIBRARY, "<"))] or list(frames)
    return f"{Path(own[-1].filename).name}:{own[-1].lineno} in {own[-1].name}"
