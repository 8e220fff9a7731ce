"""The connections of one config, kept for the next request to the same place: a few for each endpoint.

Neither library's own pool is used: httpcore's looks through all of its connections and requests at every turn.
"""

from __future__ import annotations

import asyncio
import time

from notifyd.outbound.target import Target
from notifyd.outbound.wire import Connect, Connection, Reply, Request

CONNECTIONS = 8
"""The most connections of one config to one endpoint."""

KEPT = 15.0
"""Seconds that an idle connection is kept."""


class Endpoint:
    """One scheme, host and port: its connections, and who waits for one."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[tuple[Connection, float]] = []  # and since when, the newest last

    async def exchange(self, request: Request, reply: Reply) -> None:
        """As `Connection.exchange`, on a connection that is free, or a new one."""
        async with self._slots:
            connection = await self._take(request.target)
            try:
                await connection.exchange(request, reply)
            finally:
                await self._give_back(connection)

    async def close_idle(self, before: float) -> None:
        """Close those that are idle since before this moment of the monotonic clock."""
        while self._idle and self._idle[0][1] < before:
            connection, _ = self._idle.pop(0)
            await connection.aclose()

    @property
    def deserted(self) -> bool:
        """Whether nothing is lost with it."""
        return not self._idle and self._slots._value == CONNECTIONS

    async def _take(self, target: Target) -> Connection:
        """The one that was used last, so that the others may grow old."""
        await self.close_idle(time.monotonic() - KEPT)
        while self._idle:
            connection, _ = self._idle.pop()
            if connection.idle:
                return connection
            await connection.aclose()
        return self._connect(target)

    async def _give_back(self, connection: Connection) -> None:
        if connection.idle:
            self._idle.append((connection, time.monotonic()))
        else:
            await connection.aclose()


class Endpoints:
    """All endpoints of one config."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._known: dict[tuple[str, str, int], Endpoint] = {}

    async def exchange(self, request: Request, reply: Reply) -> None:
        """As `Connection.exchange`."""
        endpoint = self._known.get(request.target.origin) or await self._new(request.target)
        await endpoint.exchange(request, reply)

    async def aclose(self) -> None:
        """Close every connection that is idle; those in use close when their requests end."""
        for endpoint in self._known.values():
            await endpoint.close_idle(float("inf"))

    async def _new(self, target: Target) -> Endpoint:
        """Where there is one more, others may be past."""
        for origin, endpoint in list(self._known.items()):
            await endpoint.close_idle(time.monotonic() - KEPT)
            if endpoint.deserted:
                self._known.pop(origin, None)
        return self._known.setdefault(target.origin, Endpoint(self._connect))
