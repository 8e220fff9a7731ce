"""Polls go first: what is asked over HTTP waits, unread, while one is at work, but never for long.

Python runs one thread at a time. A poll takes some milliseconds of every second; two hundred requests a second would
each make it wait for a little, and together for half as long again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LONGEST_WAIT = 0.025
"""Seconds that a request waits, where polls are so long or so many that there is hardly a time without."""


class RightOfWay:
    """Whether a poll is at work. Only for the loop's thread."""

    def __init__(self) -> None:
        self._at_work = 0
        self._free = asyncio.Event()
        self._free.set()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """While this lasts, others wait."""
        self._at_work += 1
        self._free.clear()
        try:
            yield
        finally:
            self._at_work -= 1
            if not self._at_work:
                self._free.set()

    @property
    def is_taken(self) -> bool:
        """Whether somebody is at work now."""
        return self._at_work > 0

    async def give(self) -> None:
        """Wait until nobody is at work, or long enough."""
        if self._at_work:
            with suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_WAIT):
                    await self._free.wait()
