"""What one poll found, kept in one transaction.

Cursor, runs, streaks, events, verdicts and deliveries move together or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from notifyd.core import plan as planning_core
from notifyd.core.memory import Detected
from notifyd.core.plan import Decided, Plan, Recipient
from notifyd.model import Finding, Verdict, rfc3339
from notifyd.store import books, memory, planning, rows, tally
from notifyd.store.database import Database

_SET_ASIDE_KEPT = 200


@dataclass(frozen=True, slots=True)
class Polled:
    """What one batch of a source came to. `verdicts` are the filters', by (event id, config id).

    `read_from` is the cursor that the batch begins at; None where nobody else may have moved it.
    """

    source_id: str
    cursor: str
    at_end: bool
    epoch: int
    detected: Detected
    verdicts: Mapping[tuple[str, str], Verdict] = field(default_factory=dict)
    unreadable: Sequence[tuple[str, str]] = ()  # (key, what was wrong): rows that gave no record
    read_from: str | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """What the transaction kept."""

    events: int
    deliveries: int
    untold: int


def commit(db: Database, polled: Polled, recipients: Sequence[Recipient], now: datetime) -> Committed | None:
    """Plan and write everything, or nothing. An event whose id is known already is not told again.

    None where a person has moved the cursor since the batch was read: then it counts for nothing.
    """
    with db.transaction():
        if polled.read_from is not None and not _stands(db, polled.source_id, polled.read_from):
            return None
        committed = keep(db, polled.source_id, polled.detected.findings, polled.verdicts, recipients, now)
        memory.save(db, polled.source_id, polled.detected, now)
        _write_set_aside(db, polled, now)
        _write_cursor(db, polled, now)
        _write_books(db, polled)
    return committed


def keep(
    db: Database,
    source_id: str | None,
    findings: Sequence[Finding],
    verdicts: Mapping[tuple[str, str], Verdict],
    recipients: Sequence[Recipient],
    now: datetime,
) -> Committed:
    """Plan and write the findings that are new, of a source or of notifyd itself. Only inside a transaction."""
    fresh = _unknown(db, findings)
    view = planning.view(db, fresh, recipients)
    plan = planning_core.plan(fresh, recipients, verdicts, view, now)
    untold = _write_events(db, source_id, fresh, plan, now)
    planning.write(db, plan, [finding.event for finding in fresh], now)
    if source_id is not None:
        books.add(db, f"source:{source_id}", {"events": len(fresh), "untold": untold})
        tally.count_events(db, source_id, [finding.event for finding in fresh])
    return Committed(len(fresh), len(plan.deliveries), untold)


def _stands(db: Database, source_id: str, cursor: str) -> bool:
    return bool(db.run("SELECT 1 FROM cursors WHERE source_id = ? AND cursor = ?", [source_id, cursor]))


def _unknown(db: Database, findings: Sequence[Finding]) -> list[Finding]:
    ids = rows.dump([finding.event.id for finding in findings])
    known = {row[0] for row in db.run("SELECT e.id FROM json_each(?) k JOIN events e ON e.id = k.value", [ids])}
    fresh = {finding.event.id: finding for finding in findings if finding.event.id not in known}
    return list(fresh.values())


def _write_events(db: Database, source_id: str | None, findings: Sequence[Finding], plan: Plan, now: datetime) -> int:
    told = {decision.event_id for decision in plan.decisions if decision.decided is not Decided.DROPPED}
    found_at = rfc3339(now)
    untold = [finding.event.id not in told for finding in findings]
    db.write_many(
        rows.INSERT_EVENT,
        [
            rows.event_row(finding, source_id, found_at, untold=nobody)
            for finding, nobody in zip(findings, untold, strict=True)
        ],
    )
    return sum(untold)


def _write_set_aside(db: Database, polled: Polled, now: datetime) -> None:
    aside = [*polled.unreadable, *polled.detected.set_aside]
    if not aside:
        return
    at = rfc3339(now)
    db.write_many(
        "INSERT INTO set_aside (source_id, key, text, at) VALUES (?, ?, ?, ?)",
        [(polled.source_id, rows.clean(key), rows.clean(text), at) for key, text in aside],
    )
    db.run(
        "DELETE FROM set_aside WHERE source_id = ? AND id <= (SELECT id FROM set_aside WHERE source_id = ?"
        f" ORDER BY id DESC LIMIT 1 OFFSET {_SET_ASIDE_KEPT})",
        [polled.source_id, polled.source_id],
    )


def _write_cursor(db: Database, polled: Polled, now: datetime) -> None:
    db.run(
        "UPDATE cursors SET cursor = ?, epoch = ?, at_end = ?, read_at = ?, failed_at = NULL, error = NULL"
        " WHERE source_id = ?",
        [polled.cursor, polled.epoch, polled.at_end, rfc3339(now), polled.source_id],
    )


def _write_books(db: Database, polled: Polled) -> None:
    counts = polled.detected.counts.copy()
    counts["read"] += len(polled.unreadable)
    counts["set_aside"] += len(polled.unreadable)
    books.add(db, f"source:{polled.source_id}", counts)
