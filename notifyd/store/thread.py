"""The one thread on which the daemon writes the state DB."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from peewee import DatabaseError

from notifyd.store.database import Database, StoreError

P = ParamSpec("P")
T = TypeVar("T")


class StoreThread:
    """Runs store functions one after another: `await store(commit.commit, polled, recipients, now)`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store")

    async def __call__(self, function: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(database, …)` on the store thread. What it began it ends, also when the caller is cancelled.

        Raises StoreError where the database refuses: locked, full, broken.
        """
        future = self._executor.submit(function, self.database, *args, **kwargs)
        try:
            return await asyncio.wrap_future(future)
        except (DatabaseError, sqlite3.Error) as error:
            raise StoreError(f"the state DB {self.database.path} cannot be used: {error}") from error

    async def close(self) -> None:
        """Close the connection and the thread, after what is queued."""
        await self(Database.close)
        self._executor.shutdown()
