"""An end, and what it closes: it never overtakes it, is void for who was never told, and belongs to it when it is
sent after all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from notifyd.model import rfc3339
from notifyd.store import books
from notifyd.store.database import Database
from notifyd.store.planning import TELLS

_LOST = ("dead", "expired", "cancelled")
_BLOCKED_FOR_AT_MOST = timedelta(minutes=1)
_VOID = "what this closes was never delivered"
_REJOINED = "leaves together with what it closes, which a person sent again"


def may_leave(db: Database, config_id: str, delivery_id: str, count: int, now: datetime) -> bool:
    """Whether a delivery with ends in it may be sent now; where it may not, it waits, or is cancelled as void."""
    openings = _openings(db, delivery_id)
    waiting = [due for told in openings.values() for state, due in told if state not in ("sent", "here", *_LOST)]
    if waiting:
        later = min(max(rfc3339(now + timedelta(seconds=1)), *waiting), rfc3339(now + _BLOCKED_FOR_AT_MOST))
        db.run("UPDATE deliveries SET due_at = ? WHERE id = ?", [later, delivery_id])
        return False
    void = [event for event, told in openings.items() if all(state in _LOST for state, _ in told)]
    if void:
        _drop(db, config_id, delivery_id, count, void, now)
    return not void  # its count has changed under the claim's feet: it is taken at the next turn


def rejoin(db: Database, delivery_ids: Iterable[str]) -> None:
    """Ends that were dropped as their beginning was lost leave with it, now that it is sent after all."""
    moved: Counter[str] = Counter()
    for identity in delivery_ids:
        found = db.run(
            "UPDATE verdicts SET decided = 'planned', reason = ?1, delivery_id = ?2 WHERE decided = 'dropped'"
            " AND config_id = (SELECT config_id FROM deliveries WHERE id = ?2) AND event_id IN"
            f" ({_ENDS_OF.format('told.id')} UNION {_ENDS_OF.format('told.condition')}"
            " AND told.event_type = 'consecutive_failures') RETURNING config_id",
            [_REJOINED, identity],
        )
        moved.update(config_id for (config_id,) in found)
        if found:
            db.run("UPDATE deliveries SET count = count + ?, closing = 1 WHERE id = ?", [len(found), identity])
    for config_id, count in moved.items():
        books.move(db, config_id, "closing_dropped", "closing_planned", count)


_ENDS_OF = (
    "SELECT e.id FROM verdicts tv JOIN events told ON told.id = tv.event_id JOIN events e ON e.closes_id = {0}"
    " WHERE tv.delivery_id = ?2 AND tv.decided = 'planned'"
)
_OPENINGS = (
    "SELECT e.id, CASE WHEN d.id = v.delivery_id THEN 'here' ELSE d.state END, d.due_at"
    " FROM verdicts v JOIN events e ON e.id = v.event_id"
    f" JOIN events told ON {TELLS.format('e.closes_id')}"
    " JOIN verdicts tv ON tv.event_id = told.id AND tv.config_id = v.config_id AND tv.decided = 'planned'"
    " JOIN deliveries d ON d.id = tv.delivery_id"
    " WHERE v.delivery_id = ? AND e.closes_id IS NOT NULL"
)


def _openings(db: Database, delivery_id: str) -> dict[str, list[tuple[str, str]]]:
    """(state, due) of the deliveries that tell what each end in the delivery closes; "here" is the delivery itself."""
    openings: dict[str, list[tuple[str, str]]] = {}
    for event, state, due_at in db.run(_OPENINGS, [delivery_id]):
        openings.setdefault(event, []).append((state, due_at))
    return openings


def _drop(db: Database, config_id: str, delivery_id: str, count: int, void: list[str], now: datetime) -> None:
    """Take out the ends whose beginning never arrived; what is then empty is cancelled."""
    db.write_many(
        "UPDATE verdicts SET decided = 'dropped', reason = ?, delivery_id = NULL"
        " WHERE event_id = ? AND delivery_id = ?",
        [(_VOID, event, delivery_id) for event in void],
    )
    books.move(db, config_id, "closing_planned", "closing_dropped", len(void))
    if left := count - len(void):
        db.run("UPDATE deliveries SET count = ? WHERE id = ?", [left, delivery_id])
    else:
        db.run(
            "UPDATE deliveries SET state = 'cancelled', count = 0, finished_at = ?, error = ? WHERE id = ?",
            [rfc3339(now), _VOID, delivery_id],
        )
