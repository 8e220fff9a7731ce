"""Threads that read the state DB beside the store thread, each on a connection of its own that cannot write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from notifyd.store.database import Database
from notifyd.store.thread import StoreThread

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 2
"""Enough for one slow search not to hold up the rest, and few enough to leave the pollers their share of the CPU."""


class Readers:
    """Runs functions that only read: `await readers(reads.history, limit=50)`."""

    def __init__(self, path: Path, threads: int = THREADS) -> None:
        self._threads = [StoreThread(Database(path), name="reader") for _ in range(threads)]
        self._idle: asyncio.Queue[StoreThread] = asyncio.Queue()

    async def start(self) -> None:
        """Open the connections."""
        for thread in self._threads:
            await thread(_read_only)
            self._idle.put_nowait(thread)

    async def __call__(self, function: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(database, …)` on the next thread that is free. No read transaction outlives it."""
        thread = await self._idle.get()
        try:
            return await thread(function, *args, **kwargs)
        finally:
            self._idle.put_nowait(thread)

    async def close(self) -> None:
        """Close the connections and the threads, after what is at work."""
        for thread in self._threads:
            await thread.close()


def _read_only(database: Database) -> None:
    database.run("PRAGMA query_only = 1")
