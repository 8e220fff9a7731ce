"""Whether the state DB is still the file that was opened, and saving what was in one that was taken away.

SQLite goes on with a file that was deleted, to the last: everything works, until a restart finds nothing.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from notifyd.store import copies
from notifyd.store.database import Database


class Presence:
    """Of the file at `path` as it is now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened = _identity(path)

    def trouble(self) -> str | None:
        """None while it is the same file, else what happened to it."""
        there = _identity(self.path)
        if there == self._opened:
            return None
        return "was replaced by another file" if there else "was deleted"


def save(db: Database, now: datetime) -> Path:
    """Copy what this thread's connection still sees to a file beside where it was. StoreError where that fails."""
    target = db.path.with_name(f"{db.path.name}.rescued-{now:%Y%m%dT%H%M%SZ}")
    copies.rescue(db.peewee.connection(), target)
    return target


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 (a symlink is followed, as SQLite does)
    except OSError:
        return None
    return status.st_dev, status.st_ino
