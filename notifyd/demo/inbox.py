"""What arrived at the sinks, and waiting for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from notifyd.errors import NotifydError

PATIENCE = 20.0
"""Seconds that whatever is expected may take; many times what it takes."""


class Missing(NotifydError):
    """Something that the story tells of did not come true."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One attempt at a delivery, as it arrived. `at` is by time.monotonic(), `status` what it was answered."""

    config: str
    title: str
    delivery: str
    at: float
    status: int = 200
    body: dict[str, Any] = field(default_factory=dict)  # a webhook's


class Inbox:
    """Everything that arrived, in order."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self._changed = asyncio.Condition()

    async def put(self, arrival: Arrival) -> None:
        """Take in one more."""
        async with self._changed:
            self.arrivals.append(arrival)
            self._changed.notify_all()

    async def expect(self, config: str, title: str, nth: int = 1) -> Arrival:
        """The nth arrival with this title at this config, as soon as it is there. Raises Missing if it never is."""
        try:
            async with asyncio.timeout(PATIENCE), self._changed:
                await self._changed.wait_for(lambda: len(self.titled(config, title)) >= nth)
        except TimeoutError:
            raise Missing(f"{config} was not told “{title}” within {PATIENCE:g} s") from None
        return self.titled(config, title)[nth - 1]

    def titled(self, config: str, title: str) -> list[Arrival]:
        """The arrivals with this title at this config."""
        return [arrival for arrival in self.arrivals if (arrival.config, arrival.title) == (config, title)]
