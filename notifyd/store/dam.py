"""The last dam: how many notifications may leave within a minute, over all configs. Beyond it everything gathers.

What counts is what was sent, and what is on its way; attempts that failed reached nobody. The history knows both, so
a restart forgets nothing. Tests are not counted, and not held up. Where more is due than may leave, whatever was not
tried yet becomes one digest for each config, which says so; nothing is lost, and nothing overtakes what it ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from notifyd.core.plan import Recipient
from notifyd.model import Reason, rfc3339
from notifyd.store import rows, tally
from notifyd.store.database import Database

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Room:
    """How many notifications may leave now; where none may, from `opens_at` on."""

    free: int
    opens_at: datetime


def room(db: Database, most: int, now: datetime) -> Room:
    """What is left of the minute that ends now."""
    begun = db.run(
        "SELECT started_at FROM notification_history WHERE started_at > ? AND event_type <> 'test'"
        " AND (success = 1 OR finished_at IS NULL) ORDER BY started_at DESC LIMIT ?",
        [rfc3339(now - _MINUTE), most],
    )
    if len(begun) < most:
        return Room(most - len(begun), now)
    return Room(0, rows.moment(begun[-1][0]) + _MINUTE)


def gather(db: Database, recipients: Iterable[Recipient], free: int, now: datetime) -> None:
    """Where more is due than may leave, make one digest for each config of what was not tried yet."""
    due = {recipient.id: _untried(db, recipient.id, now) for recipient in recipients}
    if sum(map(len, due.values())) > free:
        for config_id, found in due.items():
            if len(found) > 1:
                _merge(db, config_id, found, now)


def _untried(db: Database, config_id: str, now: datetime) -> list[tuple[str, int]]:
    """(id, count) of what could gather, the oldest first. An end is told by itself, as it may have to wait."""
    found = [
        row
        for state in ("pending", "gathering")
        for row in db.run(
            "SELECT due_at, seq, id, count FROM deliveries WHERE config_id = ? AND state = ? AND due_at <= ?"
            " AND attempts = 0 AND closing = 0 AND reason <> 'test'",
            [config_id, state, rfc3339(now)],
        )
    ]
    return [(identity, count) for _, _, identity, count in sorted(found)]


def _merge(db: Database, config_id: str, found: list[tuple[str, int]], now: datetime) -> None:
    """The oldest takes in the others, which are cancelled and empty."""
    (digest, _), *others = found
    db.write_many(
        "UPDATE verdicts SET delivery_id = ?, reason = 'gathered: more than may be told within a minute'"
        " WHERE delivery_id = ?",
        [(digest, identity) for identity, _ in others],
    )
    why = f"not lost: {digest} tells it, together with what else was more than may be told within a minute"
    db.write_many(
        "UPDATE deliveries SET state = 'cancelled', count = 0, finished_at = ?, error = ? WHERE id = ?",
        [(rfc3339(now), why, identity) for identity, _ in others],
    )
    db.run(
        "UPDATE deliveries SET state = 'pending', reason = ?, count = count + ? WHERE id = ?",
        [Reason.FLOOD.value, sum(count for _, count in others), digest],
    )
    tally.count_ends(db, [(config_id, "cancelled")] * len(others))
