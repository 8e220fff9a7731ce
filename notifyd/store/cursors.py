"""Where reading each source has come to, and how it fares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from notifyd.core.memory import Detected, Memory
from notifyd.core.plan import Recipient
from notifyd.core.rules import Origin
from notifyd.model import Finding, Verdict, Watch, rfc3339
from notifyd.store import books, commit, memory, rows, trail
from notifyd.store.commit import Committed
from notifyd.store.database import Database
from notifyd.store.trail import Actor, Change, Deed


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A source's cursor, opaque to all but the source, and the log's epoch."""

    cursor: str
    epoch: int


def get(db: Database, source_id: str) -> Checkpoint | None:
    """The source's checkpoint; None before its first start."""
    found = db.run("SELECT cursor, epoch FROM cursors WHERE source_id = ?", [source_id])
    return Checkpoint(*found[0]) if found else None


@dataclass(frozen=True, slots=True)
class Kept:
    """The watched rows as a commit left them: they count for as long as the cursor is where it put it."""

    cursor: str
    watched: Mapping[str, Watch]

    @classmethod
    def after(cls, cursor: str, known: Memory, detected: Detected, now: datetime) -> Kept:
        """What `commit` keeps of what was known and of what was detected."""
        watched = known.after(detected).watched
        return cls(cursor, {key: watch for key, watch in watched.items() if watch.until is None or watch.until > now})


def glance(
    db: Database, source_id: str, now: datetime, origin: Origin, kept: Kept | None = None
) -> tuple[Checkpoint | None, Memory]:
    """The checkpoint, and all of the memory that a poll needs that finds nothing new."""
    checkpoint = get(db, source_id)
    watching = kept.watched if kept and checkpoint and kept.cursor == checkpoint.cursor else None
    return checkpoint, memory.load(db, source_id, [], now, origin, watching=watching)


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


def places(db: Database) -> list[tuple[str, str, str]]:
    """(source id, name, cursor) of every source that was ever read."""
    return [(row[0], row[1], row[2]) for row in db.run("SELECT source_id, name, cursor FROM cursors ORDER BY name")]


def move(db: Database, source_id: str, name: str, old: str, new: str, to: str, actor: Actor, now: datetime) -> bool:
    """Put the cursor elsewhere, as a person asked for; False where it is not at `old` any more.

    A poll that is under way counts for nothing then: it sees that its batch begins elsewhere (`commit`). `to` is
    what was asked for, for the audit trail.
    """
    with db.transaction():
        moved = db.run(
            "UPDATE cursors SET cursor = ?, at_end = 0 WHERE source_id = ? AND cursor = ? RETURNING 1",
            [new, source_id, old],
        )
        if moved:
            # What had ended when reading began was told to nobody: should it be read now, it is news.
            db.run(
                "DELETE FROM watched WHERE source_id = ?1 AND until IS NOT NULL"
                " AND since <= (SELECT started_at FROM cursors WHERE source_id = ?1)",
                [source_id],
            )
            trail.note(db, actor, Deed("source.rewound", source_id, name, [Change("cursor", None, to)]), now)
    return bool(moved)


def failed(db: Database, source_id: str, error: str, now: datetime) -> None:
    """The source could not be read; its cursor stays."""
    moment = rfc3339(now)
    with db.transaction():
        db.run(
            "UPDATE cursors SET failed_at = ?, error = ?, failing_since = COALESCE(failing_since, ?)"
            " WHERE source_id = ?",
            [moment, rows.clean(error), moment, source_id],
        )


@dataclass(frozen=True, slots=True)
class Outage:
    """That a source cannot be read: since when, and the event that said so, once there is one."""

    since: datetime
    condition: str | None


def outage(db: Database, source_id: str) -> Outage | None:
    """The outage that goes on, if there is one."""
    found = db.run("SELECT failing_since, condition FROM cursors WHERE source_id = ?", [source_id])
    return Outage(rows.moment(found[0][0]), found[0][1]) if found and found[0][0] else None


def tell_outage(
    db: Database,
    source_id: str,
    finding: Finding,
    verdicts: Mapping[tuple[str, str], Verdict],
    recipients: Sequence[Recipient],
    now: datetime,
) -> Committed:
    """Keep the event of an outage that lasts, and remember that it was told."""
    with db.transaction():
        db.run("UPDATE cursors SET condition = ? WHERE source_id = ?", [finding.event.id, source_id])
        return commit.keep(db, source_id, [finding], verdicts, recipients, now)


def end_outage(
    db: Database, source_id: str, recovery: Finding | None, recipients: Sequence[Recipient], now: datetime
) -> Committed | None:
    """Forget the outage, and keep the event of its end where it was told."""
    with db.transaction():
        db.run("UPDATE cursors SET failing_since = NULL, condition = NULL WHERE source_id = ?", [source_id])
        return commit.keep(db, source_id, [recovery], {}, recipients, now) if recovery else None


def name(db: Database, names: Iterable[tuple[str, str]]) -> None:
    """Keep the current name of each source, given as (name, id), so that listings show what the file says."""
    with db.transaction():
        db.write_many("UPDATE cursors SET name = ? WHERE source_id = ?", list(names))
