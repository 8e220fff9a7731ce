"""Opening the state DB: where it is, its pragmas, its migrations, and the lock of the one daemon that uses it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import IO, Any

from peewee import DatabaseError, SqliteDatabase
from playhouse.migrations import Runner

from notifyd.errors import NotifydError
from notifyd.settings import sqlite_path

_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": "full",
    "foreign_keys": 1,
    "cache_size": -8_000,
}

PATIENCE = 30.0
"""Seconds to wait for another writer's lock."""

_LOOKS, _A_MOMENT = 10, 0.05


class StoreError(NotifydError):
    """The state DB could not be opened or used; the message says where it is and what to do."""


class Database:
    """One state DB. Each thread that uses it has a connection of its own."""

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        self.path = path
        self.peewee = SqliteDatabase(str(path), pragmas=_PRAGMAS, timeout=patience)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A write transaction that waits for its turn: a deferred one fails at once beside another writer."""
        try:
            with self.peewee.atomic("IMMEDIATE"):
                yield
        except DatabaseError as error:
            raise _cause(error) from None

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a statement, on this thread's connection and in its transaction."""
        return self.peewee.execute_sql(sql, parameters).fetchall()

    def write_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        """One statement for many rows, at the driver's speed. Only inside `transaction`. The count of rows changed."""
        return self.peewee.connection().executemany(sql, rows).rowcount

    def close(self) -> None:
        """Close this thread's connection."""
        self.peewee.close()


def _cause(error: DatabaseError) -> BaseException:
    """What went wrong: SQLite rolls back a full disk by itself, and that nothing is left to roll back is not news."""
    cause: BaseException = error
    while "no transaction is active" in str(cause) and cause.__context__ is not None:
        cause = cause.__context__
    return cause


class Lock:
    """The file lock beside a state DB: who holds it is the one daemon. The kernel frees it with the process."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        self._file: IO[str] | None = None

    def take(self) -> bool:
        """Try to become the one daemon; False if there is one already. StoreError where the file cannot be written."""
        try:
            file = self.path.open("a+")
        except OSError as error:
            raise StoreError(f"the lock file {self.path} cannot be used: {_plain(error)}") from None
        if not _locked(file):
            file.close()
            return False
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file
        return True

    def release(self) -> None:
        """Let go. The file stays: removing it would race with the next daemon."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def held(self) -> bool:
        """Whether a daemon is alive, as seen from another process."""
        try:
            with self.path.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False


def _locked(file: IO[str]) -> bool:
    """Lock it. Who only looks whether a daemon is alive holds it too, but for less than a moment."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_A_MOMENT)
        else:
            return True
    return False


def open_database(url: str, *, create: bool, patience: float = PATIENCE) -> Database:
    """Open the state DB and bring its schema up to date; with `create`, make it where there is none.

    Raises StoreError where it is missing, cannot be opened, is no SQLite database, or is newer than this notifyd.
    """
    path = sqlite_path(url)
    if path.is_dir():
        raise StoreError(f"the state DB {path} cannot be used: it is a directory; daemon.state names a file")
    if not create and not path.is_file():
        raise StoreError(f"there is no state DB at {path}: the daemon has not run yet (daemon.state says where it is)")
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.touch(mode=0o600)
        database = Database(path, patience)
        _migrate(database, create=create)
    except (DatabaseError, sqlite3.Error, OSError) as error:
        raise StoreError(f"the state DB {path} cannot be used: {_plain(error)}") from None
    return database


def _migrate(database: Database, *, create: bool) -> None:
    with as_file(files("notifyd.store") / "migrations") as folder:
        runner = Runner(database.peewee, str(folder))
        status = runner.status()
        if unknown := [migration.name for migration in status if migration.path is None]:
            raise StoreError(
                f"the state DB {database.path} was made by a newer notifyd (it has {unknown[-1]}): "
                "upgrade notifyd, or restore the backup that was made before the upgrade"
            )
        pending = [migration.name for migration in status if not migration.applied]
        if pending and not create:
            raise StoreError(
                f"the state DB {database.path} is older than this notifyd: start the daemon once to upgrade it"
            )
        if pending:
            runner.up()


def _plain(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"permission denied; it must be writable by the user that runs notifyd ({error.filename})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})"
    return str(error)
