"""What a plugin does on the side: talking where everyone hears it, blocking the loop, leaving things behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

AN_ACCIDENT = 0.3
"""Seconds of standstill that a busy machine may cause by itself."""

_QUIET = ("httpx", "httpcore", "asyncio", "hpack")  # which the daemon keeps quiet
_BEAT = 0.01
_PATIENCE = 2.0


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(_QUIET):
            self.lines.append(f"{record.name}: {record.getMessage()}")


@dataclass
class Ears:
    """What was printed, and what was logged by `logging`, past `ctx.log`."""

    out: io.StringIO = field(default_factory=io.StringIO)
    handler: _Heard = field(default_factory=_Heard)

    @property
    def logged(self) -> str:
        """By `logging`, line by line."""
        return "\n".join(self.handler.lines)

    @property
    def printed(self) -> str:
        """To standard output and standard error."""
        return self.out.getvalue()


@contextlib.contextmanager
def listening() -> Iterator[Ears]:
    """Hear all that is printed and logged."""
    ears, root = Ears(), logging.getLogger()
    level = root.level
    root.addHandler(ears.handler)
    root.setLevel(logging.DEBUG)
    try:
        with contextlib.redirect_stdout(ears.out), contextlib.redirect_stderr(ears.out):
            yield ears
    finally:
        root.setLevel(level)
        root.removeHandler(ears.handler)


class Pulse:
    """How long the event loop could not turn, and where it stood still; `async with` on the loop to watch."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.place = ""
        self._beat = time.monotonic()
        self._stopped = threading.Event()

    async def __aenter__(self) -> Pulse:
        self._loop_thread = threading.get_ident()
        self._beat = time.monotonic()
        self._beating = asyncio.create_task(self._keep_beating())
        self._watcher = threading.Thread(target=self._watch, name="notifyd kit: pulse", daemon=True)
        self._watcher.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stopped.set()
        self._beating.cancel()
        await asyncio.gather(self._beating, return_exceptions=True)
        self._watcher.join()

    async def _keep_beating(self) -> None:
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(_BEAT)

    def _watch(self) -> None:
        while not self._stopped.wait(_BEAT):
            missed = time.monotonic() - self._beat
            if missed > self.longest:
                self.longest = missed
                if missed > AN_ACCIDENT / 2:
                    self.place = self._where()

    def _where(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        frames = traceback.extract_stack(frame) if frame else []
        return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""


@dataclass(frozen=True)
class Belongings:
    """What this process has now: threads by name, and how many descriptors."""

    threads: frozenset[threading.Thread]
    descriptors: int

    @classmethod
    def now(cls) -> Belongings:
        """Count them."""
        gc.collect()
        return cls(frozenset(threading.enumerate()), len(list(Path("/dev/fd").iterdir())))

    def left_since(self) -> str | None:
        """What is there beyond these, after a moment to end in; None if nothing is."""
        return _after_a_while(self._left)

    def _left(self) -> str | None:
        now = Belongings.now()
        threads = sorted(thread.name for thread in now.threads - self.threads)
        if threads:
            return f"{len(threads)} threads: {', '.join(threads[:5])}"
        more = now.descriptors - self.descriptors
        return f"{more} open descriptors (sockets or files)" if more > 0 else None


async def tasks_left(before: set[asyncio.Task[object]]) -> str | None:
    """The tasks that are there beyond those before, after a moment to end in."""
    tries = 50
    while (left := {task for task in asyncio.all_tasks() - before if not task.done()}) and tries:
        tries -= 1
        await asyncio.sleep(0.02)
    if not left:
        return None
    return f"{len(left)} tasks: {', '.join(sorted(task.get_name() for task in left)[:5])}"


def _after_a_while(look: Callable[[], str | None]) -> str | None:
    end = time.monotonic() + _PATIENCE
    while (seen := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return seen
