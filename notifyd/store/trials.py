"""Tests that somebody waits for: first in their config's line, and tried once."""

from __future__ import annotations

from datetime import datetime

from notifyd.core.ids import config_id
from notifyd.model import rfc3339
from notifyd.store import outbox, precedence
from notifyd.store.database import Database


def unsaved_id(name: str) -> str:
    """The id under which a config is tested that is not saved: always the same, and that of no other config."""
    return config_id(f"\0{name}")  # no name holds a control character


def begin(db: Database, identity: str, name: str, now: datetime) -> str:
    """Put a test in the outbox, before all that its config has waiting. Its delivery id."""
    with db.transaction():
        delivery = outbox.enqueue_test(db, identity, name, now)
        precedence.put_first(db, delivery)
    return delivery


def end(db: Database, delivery_id: str, now: datetime) -> None:
    """Nobody waits any more: what was not sent by now is cancelled."""
    with db.transaction():
        db.run(
            "UPDATE deliveries SET state = 'cancelled', finished_at = ?, error = COALESCE(error || '; ', '') || ?"
            " WHERE id = ? AND state IN ('pending', 'retrying')",
            [rfc3339(now), "a test is not tried again", delivery_id],
        )
