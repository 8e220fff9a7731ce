"""Makes connections: a name is resolved once, all of its addresses are judged, and one of those is called.

Nothing resolves the name a second time, so a DNS server that answers differently then gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from notifyd.api import Retry
from notifyd.outbound.faults import explain
from notifyd.outbound.guard import Guard
from notifyd.outbound.resolver import Resolver

T = TypeVar("T")
Connect = Callable[[str], Coroutine[Any, Any, T]]
Discard = Callable[[T], Awaitable[None]]

HEAD_START = 0.25
"""Seconds that one address has before the next is called beside it (RFC 8305, "Happy Eyeballs")."""


class Dialer:
    """Makes the connections of one config, to where its guard lets it; without a guard, anywhere."""

    def __init__(self, guard: Guard | None = None, resolver: Resolver | None = None) -> None:
        self.guard = guard
        self._resolver = resolver or Resolver()

    async def dial(self, host: str, connect: Connect[T], discard: Discard[T]) -> T:
        """The first connection that `connect` makes to one of the host's addresses; `discard` ends one too many.

        Raises OSError where the name has no address, Reject where the guard forbids one of them, and
        else what `connect` raised for the first.
        """
        addresses = await self._resolver.addresses(host)
        if self.guard:
            self.guard.check(host, addresses)
        return await (connect(addresses[0]) if len(addresses) == 1 else _race(addresses, connect, discard))

    async def open(self, host: str, port: int) -> socket.socket:
        """A connected, non-blocking socket. Raises as `dial` does."""

        def connect(address: str) -> Coroutine[Any, Any, socket.socket]:
            return _connected(address, port)

        return await self.dial(host, connect, _close)

    async def connect(self, host: str, port: int) -> socket.socket:
        """The same for a channel: `notifyd.api.Context.connect`."""
        try:
            return await self.open(host, port)
        except OSError as error:
            raise Retry(explain(error, host, port)) from None


async def _race(addresses: Sequence[str], connect: Connect[T], discard: Discard[T]) -> T:
    """Call one address after the other, each a little later, until one answers."""
    calls: list[asyncio.Task[T]] = []
    won: asyncio.Task[T] | None = None
    try:
        for address in addresses:
            calls.append(asyncio.create_task(connect(address)))
            if won := await _first_made(calls, HEAD_START):
                break
        won = won or await _first_made(calls, None) or calls[0]
        return won.result()
    finally:
        await _end([call for call in calls if call is not won], discard)


async def _first_made(calls: Sequence[asyncio.Task[T]], patience: float | None) -> asyncio.Task[T] | None:
    """The first call that got through, after `patience` seconds at most; None if so far none did."""
    pending = set(calls)
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while pending and not any(map(_made, calls)):
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    return next(filter(_made, calls), None)


def _made(call: asyncio.Task[T]) -> bool:
    return call.done() and not call.cancelled() and call.exception() is None


async def _end(calls: Sequence[asyncio.Task[T]], discard: Discard[T]) -> None:
    for call in calls:
        call.cancel()
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if not isinstance(outcome, BaseException):
            await discard(outcome)


async def _connected(address: str, port: int) -> socket.socket:
    # Numbers only, so that nothing is resolved; it knows what an IPv6 zone is.
    family, kind, protocol, _, where = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    connection = socket.socket(family, kind, protocol)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, where)
    except BaseException:
        connection.close()
        raise
    return connection


async def _close(connection: socket.socket) -> None:
    connection.close()
