"""A plan of retries ends behind an open breaker too: the attempt that failed speaks for all that waited behind it.

So a daemon that was off for days tries again before it gives anything up.
"""

from __future__ import annotations

from collections.abc import Iterable

from notifyd.model import rfc3339
from notifyd.settings.durations import format_duration
from notifyd.store import expiry, lanes, tally
from notifyd.store.admission import Capacity
from notifyd.store.database import Database
from notifyd.store.lanes import Ended


def give_up(db: Database, capacities: Iterable[Capacity], failed: Iterable[Ended]) -> int:
    """Let die what has waited for longer than its plan, in lanes whose breaker is open and where an attempt has just
    failed. How many deliveries. Only inside a transaction."""
    newest = {each.config_id: each for each in failed}
    still = lanes.open_breakers(db) if newest else {}
    lapsed = [lane for lane in capacities if lane.recipient.id in newest and lane.recipient.id in still]
    return sum(_give_up(db, lane, newest[lane.recipient.id]) for lane in lapsed)


def _give_up(db: Database, lane: Capacity, last: Ended) -> int:
    why = f"not delivered within {format_duration(lane.retry_for)}, the channel failing all the while"
    ended, first = rfc3339(last.ended_at), rfc3339(last.began_at - lane.retry_for)
    dead = db.run(
        "UPDATE deliveries SET state = 'dead', finished_at = ?1,"
        " error = ?2 || COALESCE('; the last attempt: ' || error, '')"
        " WHERE config_id = ?3 AND state = 'retrying' AND due_at <= ?1 AND first_attempt_at <= ?4 RETURNING id",
        [ended, why, lane.recipient.id, first],
    )
    expiry.untold(db, [identity for (identity,) in dead])
    tally.count_ends(db, [(lane.recipient.id, "dead")] * len(dead))
    return len(dead)
