"""Copies of a state DB: a backup while it is in use, and one put back in its place.

A copy is whole or not there at all, is one file (no -wal beside it), and is its owner's alone.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from notifyd.store.errors import StateUnusable, StoreError, plain

SIDES = ("", "-wal", "-shm")
"""What belongs to one SQLite database, by the ends of the files' names."""

_SPARE = 1024 * 1024


def copy(source: Path, target: Path) -> None:
    """Copy a database that others may be writing. Raises StoreError where it cannot be read or written."""
    part = target.with_name(target.name + ".part")
    try:
        _room_for(source, target.parent)
        _make_private(part)
        with closing(_opened(source)) as old, closing(sqlite3.connect(part)) as new:
            # In one step: a reader of a WAL holds no writer up, and no write meanwhile makes it begin anew.
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
        _place(part, target)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{source} cannot be copied to {target}: {plain(error)}") from None
    finally:
        with suppress(OSError):
            part.unlink()


def rescue(connection: sqlite3.Connection, target: Path) -> None:
    """Copy what an open connection still sees, also when its file was deleted. StoreError where that fails."""
    part = target.with_name(target.name + ".part")
    try:
        _make_private(part)
        with closing(sqlite3.connect(part)) as new:
            connection.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
        _place(part, target)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"it cannot be saved to {target} either: {plain(error)}") from None
    finally:
        with suppress(OSError):
            part.unlink()


def is_sound(path: Path) -> str | None:
    """None where SQLite finds the file whole, else what is wrong with it. Reads all of it."""
    try:
        with closing(_opened(path)) as database:
            found = [str(row[0]) for row in database.execute("PRAGMA quick_check(3)")]
    except sqlite3.Error as error:
        return str(error)
    return None if found == ["ok"] else "; ".join(found)


def put_in_place(copied: Path, path: Path, now: datetime) -> Path | None:
    """Make a copy the state DB. Where the old one is kept, if there was one. Only while no daemon runs."""
    try:
        kept = _set_aside(path, now)
        _place(copied, path)
    except OSError as error:
        raise StoreError(f"the state DB {path} cannot be replaced: {plain(error)}") from None
    return kept


def _set_aside(path: Path, now: datetime) -> Path | None:
    if not path.exists():
        return None
    _fold_wal(path)
    kept = path.with_name(f"{path.name}.before-restore-{now:%Y%m%dT%H%M%SZ}")
    for side in SIDES:
        with suppress(FileNotFoundError):
            path.with_name(path.name + side).rename(kept.with_name(kept.name + side))
    return kept


def _fold_wal(path: Path) -> None:
    """Have all of it in one file, where it is sound enough for that."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=1)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _opened(path: Path) -> sqlite3.Connection:
    """Open it to read, beside whoever writes it. One that cannot be written here, nor has a -wal, is at rest."""
    if not path.is_file():
        raise StateUnusable(f"there is no file {path}")
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        mode = "rw"
    else:
        mode = "ro" if path.with_name(path.name + "-wal").exists() else "ro&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True)


def _room_for(source: Path, folder: Path) -> None:
    needed = sum(file.stat().st_size for side in SIDES if (file := source.with_name(source.name + side)).exists())
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise StoreError(
            f"there is no room in {folder} for a copy of {source}: it needs {needed // _SPARE + 1} MB,"
            f" and {free // _SPARE} MB are free"
        )


def _make_private(file: Path) -> None:
    file.unlink(missing_ok=True)
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _place(part: Path, target: Path) -> None:
    """Rename it, on disk before and after. Made by root, it is given to whom the folder belongs."""
    folder = target.parent
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(part, owner.st_uid, owner.st_gid)
    for path, rename in ((part, True), (folder, False)):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        if rename:
            part.replace(target)
