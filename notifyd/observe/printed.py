"""What is printed by code that should not print: a line in the log, and no more of them than anyone reads."""

from __future__ import annotations

import io
import sys
import threading
import time

import structlog

MOST = 20
"""Lines in ten seconds; what is beyond is counted."""

_WINDOW = 10.0
_LONGEST = 500

log = structlog.get_logger("notifyd.printed")


class Printed(io.TextIOBase):
    """A standard output whose lines become log lines; those of a channel carry its config's name."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._rest = ""
        self._began, self._said, self._dropped = 0.0, 0, 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Log each line that is complete."""
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            self._rest = self._rest[-_LONGEST:]
            for line in lines:
                self._say(line)
        return len(text)

    def _say(self, line: str) -> None:
        now = time.monotonic()
        if now - self._began > _WINDOW:
            if self._dropped:
                log.warning("more was printed, and dropped", lines=self._dropped)
            self._began, self._said, self._dropped = now, 0, 0
        if self._said >= MOST:
            self._dropped += 1
        elif line.strip():
            self._said += 1
            log.info("printed", text=line[:_LONGEST])


def redirect() -> None:
    """From now on standard output is the log's: the daemon itself has nothing to print."""
    sys.stdout = Printed()
