"""What is printed by code that should not print: a line in the log, and no more of them than anyone reads."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import TextIO

import structlog

from notifyd.api.masking import masked_here

MOST = 20
"""Lines within a window; what is beyond is counted."""

WINDOW = 10.0
"""Seconds."""

_LONGEST = 500
_UNFINISHED = 10_000
"""Characters that are kept of a line which has not ended."""

log = structlog.get_logger("notifyd.printed")


class Few:
    """Lets a few lines through in each window, and says at its end how many more there were."""

    def __init__(self, say: Callable[[str], None], left_out: Callable[[int], None], window: float = WINDOW) -> None:
        self._say, self._left_out, self._window = say, left_out, window
        self._lock = threading.RLock()
        self._until, self._said, self._left = 0.0, 0, 0

    def add(self, line: str) -> None:
        """Say it, if there is room; an empty one is nothing."""
        with self._lock:
            now = time.monotonic()
            if now >= self._until:
                self.tell()
                self._until, self._said = now + self._window, 0
            if self._said >= MOST:
                self.leave_out(1)
            elif line.strip():
                self._said += 1
                self._say(line)

    def leave_out(self, lines: int) -> None:
        """So many were not even looked at."""
        with self._lock:
            if lines and not self._left:  # by a thread, as nobody may print again
                wait = max(0.0, self._until - time.monotonic()) or self._window
                timer = threading.Timer(wait, copy_context().run, (self.tell,))
                timer.daemon = True
                timer.start()
            self._left += lines

    def tell(self) -> None:
        """Say how many were left out, if any were."""
        with self._lock:
            left, self._left = self._left, 0
        if left:
            self._left_out(left)


class Printed(io.TextIOBase):
    """An output whose lines become log lines. Those of a channel carry its config's name, and none of its secrets.

    Where there is an `own` stream, that has what is of no config: the daemon's last words, say.
    """

    def __init__(self, own: TextIO | None = None, window: float = WINDOW) -> None:
        super().__init__()
        self.own = own
        self._lock = threading.RLock()
        self._rests: dict[str, str] = {}  # lines that have not ended, by config, as several write in turn
        self._few = Few(
            lambda line: log.info("printed", text=line),
            lambda lines: log.warning(f"{lines} more lines that were printed are left out", lines=lines),
            window,
        )

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The daemon's own."""
        return self.own.fileno() if self.own else super().fileno()

    def flush(self) -> None:
        """Lines are logged at once; the daemon's own words may wait."""
        if self.own:
            self.own.flush()

    def write(self, text: str) -> int:
        """Log each line that is complete."""
        config = str(structlog.contextvars.get_contextvars().get("config", ""))
        if self.own and not config:
            return self.own.write(text)
        with self._lock:
            *lines, rest = (self._rests.pop(config, "") + text).split("\n")
            if rest:
                self._rests[config] = masked_here(rest)[-_UNFINISHED:]
            for line in lines:
                self._few.add(masked_here(line)[:_LONGEST])  # in this order: half a secret would be none
        return len(text)


def redirect() -> None:
    """From now on standard output is the log's, and so is what plugins write to standard error.

    The daemon itself has nothing to print; its log and its last words go on to where they went.
    """
    sys.stdout, sys.stderr = Printed(), Printed(sys.stderr)
