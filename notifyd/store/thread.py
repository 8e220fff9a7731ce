"""The one thread on which the daemon writes the state DB."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from peewee import DatabaseError, DataError, IntegrityError, InterfaceError, ProgrammingError

from notifyd.store.database import Database
from notifyd.store.errors import refusal
from notifyd.threads import Worker

P = ParamSpec("P")
T = TypeVar("T")

_BUGS = (
    DataError, IntegrityError, InterfaceError, ProgrammingError,
    sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
)  # fmt: skip
"""What a statement of ours does wrong, and not the database."""


class StoreThread:
    """Runs store functions one after another: `await store(commit.commit, polled, recipients, now)`.

    `turned(note)` is called on the thread after each, with "" or with what went wrong.
    """

    def __init__(self, database: Database, turned: Callable[[str], None] | None = None, name: str = "store") -> None:
        self.database = database
        self._turned = turned or _nobody
        self._worker = Worker(name)

    async def __call__(self, function: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(database, …)` on the store thread. What it began it ends, also when the caller is cancelled.

        Raises StoreError where the database refuses: locked, full, broken. A bug of ours stays what it is.
        """
        return await self._worker.ask(lambda: self._turn(function, *args, **kwargs))

    def nudge(self) -> None:
        """Have the thread take a turn, for nothing but to show that it does; nobody waits for it."""
        self._worker.submit(self._turn, _nothing)

    async def close(self) -> None:
        """Close the connection and the thread, after what is queued."""
        await self(Database.close)
        self._worker.close()

    def _turn(self, function: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        note = ""
        try:
            result = function(self.database, *args, **kwargs)
        except _BUGS:
            raise  # with its traceback: no state DB mends it
        except (DatabaseError, sqlite3.Error) as error:
            refused = refusal(self.database.path, error)
            note = str(refused)
            raise refused from error
        else:
            return result
        finally:
            self._turned(note)


def _nothing(_database: Database) -> None:
    return


def _nobody(_note: str) -> None:
    """Who asked for no turns is told of none."""
