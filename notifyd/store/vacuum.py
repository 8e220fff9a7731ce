"""Giving back to the file system what the state DB does not use any more."""

from __future__ import annotations

import shutil

from peewee import DatabaseError

from notifyd.store.database import Database
from notifyd.store.errors import StoreError


def vacuum(db: Database) -> tuple[int, int]:
    """Write the state DB anew, without its holes. Its size in bytes before and after. Only while no daemon runs."""
    before = db.path.stat().st_size
    free = shutil.disk_usage(db.path.parent).free
    if free < 2 * before:  # the new one, and the -wal that it is written through
        megabytes = 1_000_000
        raise StoreError(
            f"there is no room in {db.path.parent} to write the state DB anew: it needs"
            f" {2 * before // megabytes + 1} MB, and {free // megabytes} MB are free"
        )
    try:
        db.peewee.execute_sql("VACUUM")
        db.run("PRAGMA wal_checkpoint(TRUNCATE)")
    except DatabaseError as error:
        raise StoreError(f"the state DB {db.path} cannot be written anew: {error}") from None
    return before, db.path.stat().st_size
