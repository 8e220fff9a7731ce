"""A new life for what was lost: deliveries that are dead, expired or cancelled, sent again because a person asks."""

from __future__ import annotations

from datetime import datetime

from notifyd.store import outbox, reads, trail
from notifyd.store.database import Database
from notifyd.store.trail import Actor, Change, Deed

LOST = ("dead", "expired", "cancelled")
MOST = 10_000
"""Deliveries at a time: one transaction, that no poll waits long for."""

UNKNOWN = "there is no such delivery"


def revive(db: Database, delivery_id: str, actor: Actor, now: datetime) -> str | None:
    """Requeue one delivery; else why it cannot be."""
    with db.transaction():
        refusal = _why_not(db, delivery_id)
        if refusal is None:
            outbox.requeue(db, [delivery_id], now)
            trail.note(db, actor, Deed("delivery.retried", delivery_id), now)
    return refusal


def revive_all(db: Database, state: str, config_id: str | None, actor: Actor, now: datetime) -> list[str]:
    """Requeue the oldest in a state, of configs that are on; no tests, which nobody waits for any more. Their ids."""
    with db.transaction():
        lost = db.run(
            "SELECT d.id FROM deliveries d LEFT JOIN notification_configs c ON c.id = d.config_id WHERE d.state = ?1"
            " AND d.count > 0 AND d.reason <> 'test' AND c.enabled = 1 AND c.deleted_at IS NULL"
            " AND (?2 IS NULL OR d.config_id = ?2)"
            f" ORDER BY d.seq LIMIT {MOST}",
            [state, config_id],
        )
        done = outbox.requeue(db, [identity for (identity,) in lost], now)
        if done:
            told = [Change("state", state, "pending"), Change("count", None, len(done))]
            trail.note(db, actor, Deed("deliveries.retried", config_id, changes=told), now)
    return done


def unwanted(db: Database, state: str, config_id: str | None) -> int:
    """How many in a state stay there, as their configs are off; without tests, which nobody waits for any more."""
    found: int = db.run(
        "SELECT COUNT(*) FROM deliveries d JOIN notification_configs c ON c.id = d.config_id WHERE d.state = ?1"
        " AND d.count > 0 AND d.reason <> 'test' AND (c.enabled = 0 OR c.deleted_at IS NOT NULL)"
        " AND (?2 IS NULL OR d.config_id = ?2)",
        [state, config_id],
    )[0][0]
    return found


def _why_not(db: Database, delivery_id: str) -> str | None:
    delivery = reads.delivery(db, delivery_id)
    if delivery is None:
        return UNKNOWN
    if delivery.state not in LOST:
        return f"it is {delivery.state}: only what is dead, expired or cancelled can be sent again"
    if delivery.count == 0:
        return f"it tells nothing any more ({delivery.error or 'its events went to another delivery'})"
    config = reads.config(db, delivery.config_id)
    if config is None:
        return "it was a test of a config that was never saved"
    if not config.active:
        gone = "was deleted" if config.deleted_at else "is disabled"
        return f"its config {config.name} {gone}, so nothing would be sent"
    return None
