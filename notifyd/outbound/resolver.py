"""Names to addresses, without letting a slow DNS server hold up anyone else."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

Lookup = Callable[[str], Sequence[str]]
"""Blocks, and returns the addresses of a host name, the preferred ones first; raises OSError."""

MOST = 4
"""Lookups of one config at once."""


def system_lookup(host: str) -> Sequence[str]:
    """The addresses that this machine's own resolver gives, /etc/hosts included."""
    try:
        name = host.encode("ascii" if host.isascii() else "idna")
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Resolver:
    """Looks names up on threads of its own, at most `most` at once, and each name only once at a time.

    A lookup cannot be interrupted, so whoever has waited long enough leaves its thread behind. On the
    loop's shared threads one dead DNS server would soon have all of them.
    """

    def __init__(self, lookup: Lookup = system_lookup, *, most: int = MOST) -> None:
        self._lookup = lookup
        self._slots = asyncio.Semaphore(most)
        self._asked: dict[str, asyncio.Task[Sequence[str]]] = {}

    async def addresses(self, host: str) -> Sequence[str]:
        """All addresses of a name; an address is its own. Raises OSError, and socket.gaierror above all."""
        if _is_address(host):
            return (host,)
        if host not in self._asked:
            asked = self._asked[host] = asyncio.create_task(self._look_up(host), name=f"look up {host}")
            asked.add_done_callback(lambda done: self._answered(host, done))
        return await asyncio.shield(self._asked[host])

    async def _look_up(self, host: str) -> Sequence[str]:
        async with self._slots:
            return await _on_a_thread(self._lookup, host)

    def _answered(self, host: str, asked: asyncio.Task[Sequence[str]]) -> None:
        del self._asked[host]
        if not asked.cancelled():
            asked.exception()  # seen, even if everyone who asked has left


async def _on_a_thread(lookup: Lookup, host: str) -> Sequence[str]:
    """Run it on a daemon thread, which the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def settle(addresses: Sequence[str], error: Exception | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(addresses)
        else:
            answer.set_exception(error)

    def run() -> None:
        addresses: Sequence[str] = ()
        failure: Exception | None = None
        try:
            addresses = lookup(host)
        except Exception as error:  # whatever it is, it belongs to whoever asked
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, addresses, failure)

    threading.Thread(target=run, name=f"look up {host}", daemon=True).start()
    return await answer


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
