"""What is too old to matter is not sent any more: its state says so, and the next notification to its config.

Age counts from when notifyd found something (and from its release, where a filter held it), never from a row's own
time. A digest is as old as its newest event. Ends never expire, as they tell that something is over; nor does what a
person asked for: tests, and what was sent again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from notifyd.model import rfc3339
from notifyd.settings.durations import format_duration
from notifyd.store import tally
from notifyd.store.admission import Capacity
from notifyd.store.database import Database

_BATCH = 1000

_TOO_OLD = (
    "d.created_at < ?1 AND d.closing = 0 AND d.reason <> 'test' AND d.asked_at IS NULL AND NOT EXISTS (SELECT 1 FROM"
    " verdicts v JOIN events e ON e.id = v.event_id WHERE v.delivery_id = d.id AND e.found_at >= ?1)"
)


def sweep(db: Database, lanes: Iterable[Capacity], now: datetime) -> int:
    """Expire what waits in lanes that say how old is too old. How many deliveries."""
    with db.transaction():
        return sum(_sweep(db, lane, lane.expire_after, now) for lane in lanes if lane.expire_after)


def expired(db: Database, lane: Capacity, delivery_id: str, now: datetime) -> bool:
    """Expire one delivery, if it is too old. Only inside a transaction."""
    if lane.expire_after is None:
        return False
    found = db.run(f"SELECT id FROM deliveries d WHERE id = ?2 AND {_TOO_OLD}", [_cutoff(lane, now), delivery_id])
    _expire(db, lane, [identity for (identity,) in found], lane.expire_after, now)
    return bool(found)


def missed(db: Database, config_id: str, delivery_id: str) -> int:
    """The events that expired and of which nobody told this config yet: this delivery does. Only in a transaction."""
    told = db.run(
        "UPDATE deliveries SET told_in = ? WHERE config_id = ? AND state = 'expired' AND told_in IS NULL"
        " RETURNING count",
        [delivery_id, config_id],
    )
    count: int = sum(number for (number,) in told)
    if count:
        db.run("UPDATE deliveries SET missed = ? WHERE id = ?", [count, delivery_id])
    return count


def untold_events(db: Database, config_id: str) -> int:
    """How many events expired of which nobody told this config yet."""
    found: int = db.run(
        "SELECT COALESCE(SUM(count), 0) FROM deliveries WHERE config_id = ? AND state = 'expired' AND told_in IS NULL",
        [config_id],
    )[0][0]
    return found


def untold(db: Database, delivery_ids: Iterable[str]) -> None:
    """These deliveries are lost: what they told of what had expired is left to the next. Only in a transaction."""
    db.write_many("UPDATE deliveries SET told_in = NULL WHERE told_in = ?", [(each,) for each in delivery_ids])


def _sweep(db: Database, lane: Capacity, after: timedelta, now: datetime) -> int:
    found = [
        identity
        for state in ("gathering", "pending", "retrying")
        for (identity,) in db.run(
            f"SELECT id FROM deliveries d WHERE config_id = ?2 AND state = ?3 AND {_TOO_OLD} LIMIT {_BATCH}",
            [_cutoff(lane, now), lane.recipient.id, state],
        )
    ]
    _expire(db, lane, found, after, now)
    return len(found)


def _expire(db: Database, lane: Capacity, delivery_ids: list[str], after: timedelta, now: datetime) -> None:
    why = f"expired: found more than {format_duration(after)} ago, and not delivered by now"
    db.write_many(
        "UPDATE deliveries SET state = 'expired', finished_at = ?, missed = 0,"
        " error = ? || COALESCE('; the last attempt: ' || error, '') WHERE id = ?",
        [(rfc3339(now), why, identity) for identity in delivery_ids],
    )
    untold(db, delivery_ids)
    tally.count_ends(db, [(lane.recipient.id, "expired")] * len(delivery_ids))


def _cutoff(lane: Capacity, now: datetime) -> str:
    return rfc3339(now - (lane.expire_after or timedelta()))
