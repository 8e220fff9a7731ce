"""What is open: streaks that were announced, stuck runs and unreachable sources, until something closes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from notifyd.core.plan import Recipient
from notifyd.model import Event, EventType, Finding
from notifyd.store import commit, rows
from notifyd.store.commit import Committed
from notifyd.store.database import Database

_OPEN = """
    SELECT source_id, condition AS opened FROM cursors WHERE condition IS NOT NULL
    UNION ALL SELECT source_id, announced FROM streaks WHERE announced IS NOT NULL
    UNION ALL SELECT source_id, stuck FROM runs WHERE stuck IS NOT NULL
"""
_CLOSED = (
    """
    UPDATE cursors SET condition = NULL, failing_since = NULL, failed_at = NULL, error = NULL
    WHERE source_id = ? AND condition = ?
    """,
    """
    UPDATE streaks SET announced = NULL, announced_at = NULL, since = NULL, remind_at = NULL, failed_runs = 0,
      reminders = 0, failed_since_told = 0, number = number + 1
    WHERE source_id = ? AND announced = ?
    """,
    "UPDATE runs SET stuck = NULL, occurrence = occurrence + 1 WHERE source_id = ? AND stuck = ?",
)


@dataclass(frozen=True, slots=True)
class Condition:
    """What an event opened, at a source by its id and name."""

    source_id: str
    source: str
    event: Event

    @property
    def since(self) -> datetime:
        """When it was found."""
        return self.event.timestamp


def listing(db: Database) -> list[Condition]:
    """Everything that is open, the oldest first."""
    fields = ", ".join(f"e.{name}" for name in rows.EVENT_FIELDS)
    found = db.run(
        f"SELECT {fields}, o.source_id, COALESCE(c.name, o.source_id) FROM ({_OPEN}) o JOIN events e ON e.id = o.opened"
        " LEFT JOIN cursors c ON c.source_id = o.source_id ORDER BY e.seq"
    )
    return [Condition(row[-2], row[-1], rows.event_of(row)) for row in found]


def close(
    db: Database, source_id: str, findings: Sequence[Finding], recipients: Sequence[Recipient], now: datetime
) -> Committed:
    """Close those that the findings close, and keep these. What failed in a row is remembered, should it go on."""
    opened = [(source_id, finding.condition) for finding in findings]
    with db.transaction():
        for sql in _CLOSED:
            db.write_many(sql, opened)
        return commit.keep(db, source_id, findings, {}, recipients, now)


def of_reading(condition: Condition) -> bool:
    """Whether it says that nothing can be read, and so ends where nobody tries to."""
    return condition.event.event_type is EventType.SOURCE_UNREACHABLE
