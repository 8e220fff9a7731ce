"""Which of a config's deliveries is claimed first."""

from __future__ import annotations

from datetime import timedelta

from notifyd.store import rows
from notifyd.store.database import Database
from notifyd.store.planning import WAITING


def put_first(db: Database, delivery_id: str) -> None:
    """Let a pending delivery be the next that its config claims: a test does not wait behind a backlog."""
    with db.transaction():
        oldest = db.run(
            f"SELECT MIN(o.due_at) FROM deliveries o JOIN deliveries d ON d.config_id = o.config_id"
            f" WHERE d.id = ? AND o.state IN {WAITING}",
            [delivery_id],
        )[0][0]
        if oldest is not None:
            earlier = rows.text(rows.moment(oldest) - timedelta(microseconds=1))
            db.run("UPDATE deliveries SET due_at = ? WHERE id = ? AND state = 'pending'", [earlier, delivery_id])
