"""What expired where nothing follows that could say so: a notice of its own, once, to the config that was to be told.

The notice does not expire, and behind an open breaker it is what the channel is tried with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from notifyd.core.plan import Recipient
from notifyd.model import Finding, rfc3339
from notifyd.store import commit, rows
from notifyd.store.database import Database


@dataclass(frozen=True, slots=True)
class Late:
    """How many events expired untold of a config; the oldest delivery of them, and when that was planned."""

    config_id: str
    name: str
    count: int
    first: str
    since: datetime


def unsaid(db: Database) -> list[Late]:
    """The configs in use of which something expired that nothing tells, and for which nothing waits that could."""
    found = db.run(
        "SELECT d.config_id, c.name, SUM(d.count), d.id, MIN(d.created_at) FROM deliveries d"
        " JOIN notification_configs c ON c.id = d.config_id"
        " WHERE d.state = 'expired' AND d.told_in IS NULL AND c.enabled = 1 AND c.deleted_at IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM deliveries w WHERE w.config_id = d.config_id"
        " AND w.state IN ('gathering', 'pending', 'sending', 'retrying')) GROUP BY d.config_id"
    )
    return [Late(config_id, name, count, first, rows.moment(since)) for config_id, name, count, first, since in found]


def say(db: Database, late: Late, finding: Finding, recipients: Sequence[Recipient], now: datetime) -> bool:
    """Plan the notice. False where it was planned before: one that was lost is not made again."""
    with db.transaction():
        if db.run("SELECT 1 FROM events WHERE id = ?", [finding.event.id]):
            return False
        commit.keep(db, None, [finding], {}, recipients, now)
        notice = "(SELECT delivery_id FROM verdicts WHERE event_id = ?1 AND config_id = ?2)"
        about = [finding.event.id, late.config_id]
        db.run(
            f"UPDATE deliveries SET told_in = {notice} WHERE config_id = ?2 AND state = 'expired' AND told_in IS NULL",
            about,
        )
        db.run(f"UPDATE deliveries SET asked_at = ?3 WHERE id = {notice}", [*about, rfc3339(now)])
        return True
