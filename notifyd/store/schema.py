"""The schema of a state DB: which migrations it has had, and how it comes up to date."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from peewee import SqliteDatabase

from notifyd.lean import without
from notifyd.store import DRIVERS, copies
from notifyd.store.errors import StateUnusable

_HISTORY = "schema_migration"


@dataclass(frozen=True, slots=True)
class Standing:
    """The names of migrations: those it has had, those that it lacks, and those that this notifyd does not know."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[str, ...]


def check(db: SqliteDatabase, path: Path) -> None:
    """Raises StateUnusable where the schema is not the one that this notifyd works with."""
    standing = _standing(db)
    _refuse_newer(standing, path)
    if standing.pending:
        raise StateUnusable(f"the state DB {path} is older than this notifyd: start the daemon once to upgrade it")


def upgrade(db: SqliteDatabase, path: Path) -> Path | None:
    """Bring the schema up to date. Where the copy from before is; None where there was nothing to copy.

    Each migration is one transaction, so that a crash leaves the schema before it or the one after it.
    Raises StateUnusable where it is newer than this notifyd, StoreError where there is no room for the copy.
    """
    standing = _standing(db)
    _refuse_newer(standing, path)
    if not standing.pending:
        return None
    kept = _keep(path, standing) if standing.applied else None
    with without(*DRIVERS, "playhouse.cockroachdb"):  # which loads playhouse's PostgreSQL, and stays for good
        from playhouse.migrations import Runner  # half a megabyte that a start seldom needs
    with _folder() as folder:
        Runner(db, str(folder)).up()
    return kept


def refuse_of_others(path: Path) -> None:
    """Raises StateUnusable where the file is a database with tables, and none of notifyd's. It stays as it is.

    Raises sqlite3.Error where it cannot be read.
    """
    with closing(_reading(path)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and _HISTORY not in tables:
        raise StateUnusable(
            f"the state DB {path} cannot be used: it is a database of something else, with the table "
            f"{min(tables)}; daemon.state names a file of notifyd's own"
        )


def refuse_foreign(path: Path) -> None:
    """Raises StateUnusable where a file is no state DB, is damaged, or is newer than this notifyd."""
    if trouble := copies.is_sound(path):
        raise StateUnusable(f"it cannot be used as a state DB: {trouble}")
    if not is_state(path):
        raise StateUnusable("it cannot be used as a state DB: it is a database of something else")
    with closing(SqliteDatabase(str(path))) as db:
        _refuse_newer(_standing(db), path)


def is_state(path: Path) -> bool:
    """Whether a file is a state DB, of whichever version, damaged or not."""
    try:
        with closing(_reading(path)) as database:
            wanted = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name IN (?, 'cursors')"
            return len(database.execute(wanted, [_HISTORY]).fetchall()) == 2
    except sqlite3.Error:
        return False


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _keep(path: Path, standing: Standing) -> Path:
    kept = path.with_name(f"{path.name}.before-{standing.pending[0]}")
    copies.copy(path, kept)
    return kept


def _folder() -> AbstractContextManager[Path]:
    return as_file(files("notifyd.store") / "migrations")


def _standing(db: SqliteDatabase) -> Standing:
    """By the names alone, as playhouse.migrations keeps them."""
    with _folder() as folder:
        known = sorted(file.stem for file in folder.glob("[0-9]*.py"))
    there = db.table_exists(_HISTORY)
    applied = sorted(row[0] for row in db.execute_sql(f"SELECT name FROM {_HISTORY}")) if there else []
    return Standing(
        applied=tuple(applied),
        pending=tuple(name for name in known if name not in applied),
        unknown=tuple(name for name in applied if name not in known),
    )


def _refuse_newer(standing: Standing, path: Path) -> None:
    if standing.unknown:
        raise StateUnusable(
            f"the state DB {path} was made by a newer notifyd (it has {standing.unknown[-1]}): "
            f"upgrade notifyd, or `notifyd restore` the copy from before the upgrade{_copies_of(path)}"
        )


def _copies_of(path: Path) -> str:
    found = sorted(path.parent.glob(f"{path.name}.before-0*"))
    return f" ({found[-1]})" if found else ""
