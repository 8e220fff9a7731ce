"""What is printed by code that should not print: a line in the log, and no more of them than anyone reads."""

from __future__ import annotations

import io
import sys
import threading
import time
from typing import TextIO

import structlog

from notifyd.api.masking import masked_here

MOST = 20
"""Lines in ten seconds; what is beyond is counted."""

_WINDOW = 10.0
_LONGEST = 500
_UNFINISHED = 10_000
"""Characters that are kept of a line which has not ended."""

log = structlog.get_logger("notifyd.printed")


class Printed(io.TextIOBase):
    """An output whose lines become log lines. Those of a channel carry its config's name, and none of its secrets.

    Where there is an `own` stream, that has what is of no config: the daemon's last words, say.
    """

    def __init__(self, own: TextIO | None = None) -> None:
        super().__init__()
        self.own = own
        self._lock = threading.RLock()
        self._rests: dict[str, str] = {}  # lines that have not ended, by config, as several write in turn
        self._began, self._said, self._dropped = 0.0, 0, 0

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
                self._say(masked_here(line)[:_LONGEST])  # in this order: half a secret would be none
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
            log.info("printed", text=line)


def redirect() -> None:
    """From now on standard output is the log's, and so is what plugins write to standard error.

    The daemon itself has nothing to print; its log and its last words go on to where they went.
    """
    sys.stdout, sys.stderr = Printed(), Printed(sys.stderr)
