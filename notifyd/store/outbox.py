"""The outbox: deliveries are claimed by a lease, attempted, and settled; nothing leaves it unseen.

States: gathering → pending → sending → sent | retrying → … | dead; and expired, cancelled.
The claim writes the attempt's row before anything is sent, and settling holds only while the lease
does, so a crash at any moment leaves either an attempt that is settled or one that is taken up again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from notifyd.core import notices
from notifyd.model import Finding, Outcome, Reason, Result, rfc3339
from notifyd.store import admission, books, claim, dam, ends, expiry, lapse, rows, tally
from notifyd.store.admission import Capacity
from notifyd.store.claim import Claimed
from notifyd.store.database import Database
from notifyd.store.lanes import Ended, fold
from notifyd.store.planning import LOST


@dataclass(frozen=True, slots=True)
class Settled:
    """How an attempt ended. `retry_at` None after a failure means that it was the last."""

    claimed: Claimed
    outcome: Outcome
    started_at: datetime
    finished_at: datetime
    retry_at: datetime | None = None

    @property
    def dead(self) -> bool:
        """Whether it was the last attempt, and in vain."""
        return self.retry_at is None and self.outcome.result is not Result.SENT


def turn(
    db: Database,
    settled: Sequence[Settled],
    lanes: Mapping[str, Capacity],
    now: datetime,
    most_per_minute: int | None = None,
    returned: Sequence[Claimed] = (),
) -> list[Claimed]:
    """Settle what ended, take back what was not begun, and claim what is due, in one transaction. `lanes` by config id;
    `most_per_minute` over all."""
    with db.transaction():
        settle(db, settled)
        failed = (_ended(item) for item in settled if item.outcome.result is not Result.SENT)
        lapse.give_up(db, lanes.values(), failed)
        give_back(db, returned)
        claim.release_held(db, lanes, now)
        if most_per_minute is None:
            due = admission.due(db, lanes, now)
            return [claimed for each in due if each.by(now) for claimed in claim.claim(db, each.admission, now)]
        return claim.within(db, lanes, dam.room(db, most_per_minute, now), now)


def next_due(
    db: Database, lanes: Mapping[str, Capacity], now: datetime, most_per_minute: int | None = None
) -> datetime | None:
    """When a lane can claim next, or the next hold ends; None if nothing waits that a turn of these lanes can move."""
    room = None if most_per_minute is None else dam.room(db, most_per_minute, now)
    moments = [each.at for each in admission.due(db, lanes, now, room)]
    moments += [rows.moment(until) for (until,) in db.run(_NEXT_HOLD, [rows.dump([*lanes])])]
    return min((moment for moment in moments if moment), default=None)


_NEXT_HOLD = (
    "SELECT (SELECT until FROM verdicts WHERE decided = 'held' AND config_id = k.value ORDER BY until LIMIT 1)"
    " FROM json_each(?) k"
)


def waiting(db: Database) -> int:
    """How many deliveries have not ended yet."""
    states = ("gathering", "pending", "sending", "retrying")
    return sum(db.run("SELECT COUNT(*) FROM deliveries WHERE state = ?", [state])[0][0] for state in states)


def settle(db: Database, settled: Iterable[Settled]) -> None:
    """Record how attempts ended. One whose lease was taken over meanwhile changes nothing but its history."""
    items = list(settled)
    db.write_many(
        "UPDATE deliveries SET state = ?, due_at = ?, finished_at = ?, error = ?, lease = NULL, lease_until = NULL"
        " WHERE id = ? AND lease = ? AND state = 'sending'",
        [_settled_row(item) for item in items],
    )
    db.write_many(
        "UPDATE notification_history SET finished_at = ?, duration_ms = ?, result = ?, success = ?, status_code = ?,"
        " error = ? WHERE delivery_id = ? AND attempt = ?",
        [_attempt_row(item) for item in items],
    )
    tally.count_attempts(db, map(_counted, items))
    tally.count_ends(db, ((item.claimed.config_id, end) for item in items if (end := _end(item))))
    expiry.untold(db, [item.claimed.notification.id for item in items if item.dead])
    fold(db, map(_ended, items))


def in_flight(db: Database) -> list[str]:
    """Who was being sent to, "config (channel)" each, by what the attempts that did not end say."""
    rows = db.run(
        "SELECT DISTINCT config_name, notification_type FROM notification_history h JOIN deliveries d"
        " ON d.id = h.delivery_id WHERE d.state = 'sending' AND h.finished_at IS NULL ORDER BY config_name"
    )
    return [f"{config} ({channel})" for config, channel in rows]


def give_back(db: Database, returned: Iterable[Claimed]) -> None:
    """What was claimed and not begun is as it was before: no attempt was made, so none is kept."""
    items = [(claimed.notification.id, claimed.attempt, claimed.lease) for claimed in returned]
    db.write_many(
        "DELETE FROM notification_history WHERE delivery_id = ? AND attempt = ? AND finished_at IS NULL"
        " AND EXISTS (SELECT 1 FROM deliveries d WHERE d.id = delivery_id AND d.lease = ?)",
        items,
    )
    db.write_many(
        "UPDATE deliveries SET state = iif(attempts = 1, 'pending', 'retrying'), attempts = attempts - 1,"
        " first_attempt_at = iif(attempts = plan_from + 1, NULL, first_attempt_at), lease = NULL, lease_until = NULL"
        " WHERE id = ? AND attempts = ? AND lease = ? AND state = 'sending'",
        items,
    )


def take_up(db: Database, now: datetime, *, all_leases: bool) -> int:
    """Take up deliveries whose lease ended, or, at the start of the one daemon, all that were in flight. How many."""
    with db.transaction():
        moment = rfc3339(now)
        condition = "state = 'sending'" if all_leases else "state = 'sending' AND lease_until <= ?"
        found = db.run(f"SELECT id, attempts FROM deliveries WHERE {condition}", [] if all_leases else [moment])
        text = "unknown: the daemon stopped" if all_leases else "unknown: the attempt outlived its lease"
        db.write_many(
            "UPDATE notification_history SET finished_at = ?, result = 'unknown', success = 0, error = ?"
            " WHERE delivery_id = ? AND attempt = ? AND finished_at IS NULL",
            [(moment, text, identity, attempt) for identity, attempt in found],
        )
        db.write_many(
            "UPDATE deliveries SET state = 'retrying', due_at = ?, error = ?, lease = NULL, lease_until = NULL"
            " WHERE id = ?",
            [(moment, text, identity) for identity, _ in found],
        )
    return len(found)


def enqueue_test(db: Database, config_id: str, config: str, now: datetime) -> str:
    """Put a test for one config in the outbox: the same path as anything else. Its delivery id."""
    token = secrets.token_hex(12)
    event, delivery = notices.test_event(config, token, now), f"dlv_{token}"
    with db.transaction():
        db.write_many(rows.INSERT_EVENT, [rows.event_row(Finding(event), None, rfc3339(now), untold=False)])
        db.write_many(rows.INSERT_VERDICT, [(event.id, config_id, "planned", "a person asked for it", delivery, None)])
        moment = rfc3339(now)
        row = (delivery, config_id, f"test:{token}", "pending", Reason.TEST.value, moment, 1, False, moment)
        db.write_many(rows.INSERT_DELIVERY, [row])
        books.add(db, f"config:{config_id}", {"test_planned": 1})
    return delivery


def requeue(db: Database, delivery_ids: Iterable[str], now: datetime) -> list[str]:
    """Give dead, expired or cancelled deliveries a new life, with a new retry plan, and the end of what they tell, if
    it has ended. The ids that were.

    Those of a config that is off stay as they are, as nobody would send them. Whoever asks leaves out what is empty.
    """
    moment, done = rfc3339(now), []
    with db.transaction():
        for identity in delivery_ids:
            changed = db.run(
                "UPDATE deliveries SET state = 'pending', due_at = ?1, asked_at = ?1, plan_from = attempts, missed = 0,"
                " first_attempt_at = NULL, finished_at = NULL, error = NULL, told_in = NULL"
                f" WHERE id = ?2 AND state IN {LOST} AND NOT EXISTS (SELECT 1 FROM notification_configs c"
                " WHERE c.id = config_id AND (NOT c.enabled OR c.deleted_at IS NOT NULL)) RETURNING id",
                [moment, identity],
            )
            done += [row[0] for row in changed]
        ends.rejoin(db, done)
    return done


def cancel(db: Database, config_id: str, why: str, now: datetime) -> int:
    """Cancel what waits for a config that was disabled or deleted, visibly. How many deliveries."""
    with db.transaction():
        cancelled = db.run(
            "UPDATE deliveries SET state = 'cancelled', finished_at = ?, error = ?"
            " WHERE config_id = ? AND state IN ('gathering', 'pending', 'retrying') RETURNING id",
            [rfc3339(now), why, config_id],
        )
        dropped = db.run(
            "UPDATE verdicts SET decided = 'dropped', reason = ?, until = NULL WHERE config_id = ? AND decided = 'held'"
            " RETURNING (SELECT e.closes_id IS NOT NULL FROM events e WHERE e.id = event_id)",
            [why, config_id],
        )
        tally.count_ends(db, [(config_id, "cancelled")] * len(cancelled))
        closing = sum(row[0] for row in dropped)
        books.move(db, config_id, "held", "dropped", len(dropped) - closing)
        books.move(db, config_id, "closing_held", "closing_dropped", closing)
    return len(cancelled)


# -- settling ----------------------------------------------------------------------------------------


def _counted(item: Settled) -> tuple[str, str, float]:
    took = (item.finished_at - item.started_at).total_seconds() * 1000
    return item.claimed.config_id, item.outcome.result.value, max(took, 0.0)


def _end(item: Settled) -> str | None:
    """The final state that an attempt led to; None where it is tried again, and of a test: it alerts nobody."""
    if item.claimed.notification.reason is Reason.TEST:
        return None
    if item.outcome.result is Result.SENT:
        return "sent"
    return "dead" if item.retry_at is None else None


def _settled_row(item: Settled) -> rows.Row:
    claimed, outcome = item.claimed, item.outcome
    finished: datetime | None = item.finished_at
    if outcome.result is Result.SENT:
        state, due = "sent", item.finished_at
    elif item.retry_at is None:
        state, due = "dead", item.finished_at
    else:
        state, due, finished = "retrying", item.retry_at, None
    error = rows.clean(outcome.reason) or None
    return (state, rfc3339(due), rows.text(finished), error, claimed.notification.id, claimed.lease)


def _attempt_row(item: Settled) -> rows.Row:
    outcome = item.outcome
    duration = (item.finished_at - item.started_at).total_seconds() * 1000
    return (
        rfc3339(item.finished_at), round(max(duration, 0.0), 3), outcome.result.value, outcome.result is Result.SENT,
        outcome.status_code, rows.clean(outcome.reason) or None, item.claimed.notification.id, item.claimed.attempt,
    )  # fmt: skip


def _ended(item: Settled) -> Ended:
    claimed = item.claimed
    test = claimed.notification.reason is Reason.TEST
    return Ended(claimed.config_id, item.outcome, item.started_at, item.finished_at, asked_for=test)
