"""Where reading each source has come to, and how it fares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from notifyd.core.detect import Detected
from notifyd.model import rfc3339
from notifyd.store import books, memory
from notifyd.store.database import Database


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A source's cursor, opaque to all but the source, and the log's epoch."""

    cursor: str
    epoch: int


def get(db: Database, source_id: str) -> Checkpoint | None:
    """The source's checkpoint; None before its first start."""
    found = db.run("SELECT cursor, epoch FROM cursors WHERE source_id = ?", [source_id])
    return Checkpoint(*found[0]) if found else None


def start(db: Database, source_id: str, name: str, cursor: str, detected: Detected, now: datetime) -> None:
    """A source's first start: its cursor, and the rows running now, which are watched."""
    with db.transaction():
        moment = rfc3339(now)
        db.run(
            "INSERT INTO cursors (source_id, name, cursor, epoch, started_at, read_at, at_end)"
            " VALUES (?, ?, ?, 0, ?, ?, 0)",
            [source_id, name, cursor, moment, moment],
        )
        memory.save(db, source_id, detected, now)
        books.add(db, f"source:{source_id}", detected.counts)


def failed(db: Database, source_id: str, error: str, now: datetime) -> None:
    """The source could not be read; its cursor stays."""
    with db.transaction():
        db.run("UPDATE cursors SET failed_at = ?, error = ? WHERE source_id = ?", [rfc3339(now), error, source_id])


def name(db: Database, names: Iterable[tuple[str, str]]) -> None:
    """Keep the current name of each source id, so that listings show what the file says."""
    with db.transaction():
        db.write_many(
            "UPDATE cursors SET name = ? WHERE source_id = ?", [(name, source_id) for source_id, name in names]
        )
