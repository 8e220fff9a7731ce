"""The schema of a state DB: which migrations it has had, and how it comes up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from peewee import SqliteDatabase
from playhouse.migrations import Runner

from notifyd.store import copies
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
    with _runner(db) as runner:
        standing = _standing(runner)
    _refuse_newer(standing, path)
    if standing.pending:
        raise StateUnusable(f"the state DB {path} is older than this notifyd: start the daemon once to upgrade it")


def upgrade(db: SqliteDatabase, path: Path) -> Path | None:
    """Bring the schema up to date. Where the copy from before is; None where there was nothing to copy.

    Each migration is one transaction, so that a crash leaves the schema before it or the one after it.
    Raises StateUnusable where it is newer than this notifyd, StoreError where there is no room for the copy.
    """
    with _runner(db) as runner:
        standing = _standing(runner)
        _refuse_newer(standing, path)
        if not standing.pending:
            return None
        kept = _keep(path, standing) if standing.applied else None
        runner.up()
    return kept


def refuse_foreign(path: Path) -> None:
    """Raises StateUnusable where a file is no state DB, is damaged, or is newer than this notifyd."""
    if trouble := copies.is_sound(path):
        raise StateUnusable(f"it cannot be used as a state DB: {trouble}")
    db = SqliteDatabase(str(path))
    try:
        if not db.table_exists(_HISTORY):
            raise StateUnusable("it cannot be used as a state DB: it is a database of something else")
        with _runner(db) as runner:
            _refuse_newer(_standing(runner), path)
    finally:
        db.close()


def _keep(path: Path, standing: Standing) -> Path:
    kept = path.with_name(f"{path.name}.before-{standing.pending[0]}")
    copies.copy(path, kept)
    return kept


@contextmanager
def _runner(db: SqliteDatabase) -> Iterator[Runner]:
    with as_file(files("notifyd.store") / "migrations") as folder:
        yield Runner(db, str(folder))


def _standing(runner: Runner) -> Standing:
    found = runner.status()
    return Standing(
        applied=tuple(each.name for each in found if each.applied),
        pending=tuple(each.name for each in found if not each.applied),
        unknown=tuple(each.name for each in found if each.path is None),
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
