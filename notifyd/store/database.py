"""The state DB: where it is, its pragmas, its transactions, and how it is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peewee import DatabaseError, SqliteDatabase

from notifyd.settings import sqlite_path
from notifyd.store import schema
from notifyd.store.errors import StateUnusable as StateUnusable
from notifyd.store.errors import StoreError as StoreError
from notifyd.store.errors import refusal
from notifyd.store.lock import Lock

_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": "full",
    "foreign_keys": 1,
    "cache_size": -8_000,
    "journal_size_limit": 16_000_000,  # the -wal is cut back to this once a burst is over
}

PATIENCE = 30.0
"""Seconds to wait for another writer's lock."""

IMPATIENCE = 0.5
"""The same, once waiting was in vain: many who wait one after another must not add up."""


class Database:
    """One state DB. Each thread that uses it has a connection of its own."""

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        self.path, self.patience = path, patience
        self._impatient = False  # only for the one thread that writes
        self.kept: Path | None = None  # the copy from before its schema was upgraded just now
        self.peewee = SqliteDatabase(str(path), pragmas=_PRAGMAS, timeout=patience)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A write transaction that waits for its turn: a deferred one fails at once beside another writer."""
        try:
            with self.peewee.atomic("IMMEDIATE"):
                self._wait(impatiently=False)
                yield
        except DatabaseError as error:
            self._wait(impatiently="locked" in str(error))
            raise _cause(error) from None

    def _wait(self, *, impatiently: bool) -> None:
        """How long the next transaction waits for its turn."""
        if impatiently != self._impatient:
            self._impatient = impatiently
            seconds = IMPATIENCE if impatiently else self.patience
            self.run(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a statement, on this thread's connection and in its transaction."""
        return self.peewee.execute_sql(sql, parameters).fetchall()

    def write_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """One statement for many rows, at the driver's speed. Only inside `transaction`. The count of rows changed."""
        return self.peewee.connection().executemany(sql, rows).rowcount

    def try_write(self) -> None:
        """Write what is there already. On a full disk that fails, which an empty transaction does not."""
        with self.transaction():
            self.run("UPDATE schema_migration SET name = name")

    def close(self) -> None:
        """Close this thread's connection."""
        self.peewee.close()


def _cause(error: DatabaseError) -> BaseException:
    """What went wrong: SQLite rolls back a full disk by itself, and that nothing is left to roll back is not news."""
    cause: BaseException = error
    while "no transaction is active" in str(cause) and cause.__context__ is not None:
        cause = cause.__context__
    return cause


def open_database(url: str, *, create: bool, patience: float = PATIENCE) -> Database:
    """Open the state DB and bring its schema up to date; with `create`, make it where there is none.

    Raises StoreError where it is missing, cannot be opened, is no SQLite database, or is newer than this notifyd;
    StateUnusable, where no restart mends that.
    """
    path = sqlite_path(url)
    if path.is_dir():
        raise StateUnusable(f"the state DB {path} cannot be used: it is a directory; daemon.state names a file")
    if not create and not path.is_file():
        raise StoreError(_missing(path))
    try:
        return _made(path, patience) if create else _found(path, patience)
    except (DatabaseError, sqlite3.Error, OSError) as error:
        raise refusal(path, error) from None


def _made(path: Path, patience: float) -> Database:
    """The daemon's: made where there never was one, and upgraded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path)
    if not _anything(path):
        if lock.remembers():
            raise StateUnusable(_gone(lock, path))
        path.touch(mode=0o600)
    else:
        _refuse_second_name(path)
        schema.refuse_of_others(path)
    database = Database(path, patience)
    database.kept = schema.upgrade(database.peewee, path)
    lock.remember()
    return database


def _found(path: Path, patience: float) -> Database:
    """A reader's: as it is."""
    schema.refuse_of_others(path)
    database = Database(path, patience)
    schema.check(database.peewee, path)
    return database


def _anything(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _refuse_second_name(path: Path) -> None:
    """A symlink leads to one lock; two names of one file have two, and SQLite keeps a log of writes beside each."""
    if (names := path.stat().st_nlink) > 1:
        raise StateUnusable(
            f"the state DB {path} cannot be used: the file has {names} names (hard links), and a second daemon could "
            "run on another of them; remove the others (`find -samefile` finds them), or copy it to a file of its own"
        )


def _missing(path: Path) -> str:
    if path.parent.is_dir() and Lock(path).remembers():
        return _gone(Lock(path), path)
    return f"there is no state DB at {path}: the daemon has not run yet (daemon.state says where it is)"


def _gone(lock: Lock, path: Path) -> str:
    rescued = sorted(path.parent.glob(f"{path.name}.rescued-*"))
    backup = str(rescued[-1]) if rescued else "a backup"
    return (
        f"the state DB {path} is gone, though there was one (last begun at {lock.taken_at():%Y-%m-%d %H:%MZ}):"
        f" put it back, or `notifyd restore` {backup}; to begin anew all the same, remove {lock.path}"
    )
