"""One source and the thread that reads it. A read that never answers is left behind with its thread.

So a hung network file system or database costs that source's news, and nothing else: it is told as unreachable,
and read anew on another thread. At most `MOST_LEFT_BEHIND` are left behind at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from notifyd.settings import SourceSettings, format_duration
from notifyd.sources import Source, SourceError, open_source
from notifyd.threads import Worker

P = ParamSpec("P")
T = TypeVar("T")

MOST_LEFT_BEHIND = 3
"""Reads of one source that may hang at a time; until one of them comes back, it is not read any more."""


CLOSES_WITHIN = 5.0
"""Seconds that a source has to close, and a read to end once the daemon stops."""


class Hangs(SourceError):
    """The source does not answer at all."""


class Reading:
    """See the module's docstring. `source` is the one that is read now: give its methods to `run`."""

    def __init__(self, settings: SourceSettings) -> None:
        self.settings = settings
        self.source: Source
        self._thread: Worker
        self._answer: asyncio.Future[Any] | None = None
        self._left_behind: list[Worker] = []
        self._begin()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function on the source's thread. Raises Hangs where it does not return within the source's timeout."""
        self._left_behind = [thread for thread in self._left_behind if thread.alive]
        if len(self._left_behind) >= MOST_LEFT_BEHIND:
            raise self._hangs(f"{MOST_LEFT_BEHIND} reads of it hang; it is read again once one of them ends")
        self._answer = answer = self._thread.ask(function, *args, **kwargs)
        await asyncio.wait([answer], timeout=self.settings.timeout.total_seconds())
        if answer.done() and not answer.cancelled():
            return answer.result()
        answer.cancel()
        self._leave_behind()
        limit = format_duration(self.settings.timeout)
        raise self._hangs(f"no answer within {limit} (its timeout): is its disk or its server alive?")

    def give_up(self, after: float = CLOSES_WITHIN) -> None:
        """Wait no longer than that for what is at work now."""
        if self._answer and not self._answer.done():
            asyncio.get_running_loop().call_later(after, self._answer.cancel)

    async def close(self) -> None:
        """Close the source; not for ever."""
        closing = self._thread.ask(self.source.close)
        self._thread.close()
        await asyncio.wait([closing], timeout=CLOSES_WITHIN)

    def _leave_behind(self) -> None:
        """Whenever its thread comes back, it closes its connection, and ends."""
        self._left_behind.append(self._thread)
        self._thread.submit(self.source.close)
        self._thread.close()
        self._begin()

    def _begin(self) -> None:
        self.source = open_source(self.settings)
        self._thread = Worker(f"source-{self.settings.name}")

    def _hangs(self, text: str) -> Hangs:
        return Hangs(f'source "{self.settings.name}": {text}')
