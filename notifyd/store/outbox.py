"""The outbox: deliveries are claimed by a lease, attempted, and settled; nothing leaves it unseen.

States: gathering → pending → sending → sent | retrying → … | dead; and expired, cancelled.
The claim writes the attempt's row before anything is sent, and settling holds only while the lease
does, so a crash at any moment leaves either an attempt that is settled or one that is taken up again.
"""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from notifyd.core import describe
from notifyd.core.plan import release
from notifyd.model import Finding, Notification, Outcome, Reason, Result, rfc3339
from notifyd.store import admission, books, dam, ends, expiry, lapse, planning, rows, tally
from notifyd.store.admission import Admission, Capacity
from notifyd.store.database import Database
from notifyd.store.lanes import Ended, fold
from notifyd.store.planning import LOST

SAMPLES = 20
"""The events of a digest that are told one by one; the rest are in its count."""

_EVENT = ", ".join("e." + name for name in rows.EVENT_FIELDS)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is this daemon's to attempt until its lease ends.

    `tries` counts the attempts of this retry plan, `attempt` all of them; both include this one.
    """

    config_id: str
    notification: Notification
    attempt: int
    tries: int
    first_attempt_at: datetime
    lease: str


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
    if not settled and not returned and not _anything_due(db, lanes, now, most_per_minute):
        return []
    with db.transaction():
        settle(db, settled)
        failed = (_ended(item) for item in settled if item.outcome.result is not Result.SENT)
        lapse.give_up(db, lanes.values(), failed)
        give_back(db, returned)
        _release_held(db, lanes, now)
        if most_per_minute is None:
            due = admission.due(db, lanes, now)
            return [claimed for each in due if each.by(now) for claimed in _claim(db, each.admission, now)]
        return _claim_within(db, lanes, dam.room(db, most_per_minute, now), now)


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
    event, delivery = describe.test_event(config, token, now), f"dlv_{token}"
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


# -- claiming ----------------------------------------------------------------------------------------


def _anything_due(db: Database, lanes: Mapping[str, Capacity], now: datetime, most_per_minute: int | None) -> bool:
    due = next_due(db, lanes, now, most_per_minute)
    return due is not None and due <= now


def _release_held(db: Database, lanes: Mapping[str, Capacity], now: datetime) -> None:
    """Holds that have ended become deliveries."""
    held = db.run(
        f"SELECT v.config_id, v.reason, e.condition, {_EVENT} FROM json_each(?) k JOIN verdicts v ON"
        " v.config_id = k.value AND v.decided = 'held' AND v.until <= ? JOIN events e ON e.id = v.event_id"
        " ORDER BY e.seq LIMIT 5000",
        [rows.dump([*lanes]), rfc3339(now)],
    )
    items = [(Finding(rows.event_of(row[3:]), condition=row[2]), lanes[row[0]].recipient, row[1]) for row in held]
    if not items:
        return
    findings = [finding for finding, _, _ in items]
    view = planning.view(db, findings, [lane.recipient for lane in lanes.values()])
    planning.write(db, release(items, view, now), [finding.event for finding in findings], now)
    # The release decided about each once more; it was offered only once.
    twice = Counter(
        (recipient.id, what)
        for finding, recipient, _ in items
        for what in (("closing_held",) if finding.event.closes else ("held", "offered"))
    )
    for (config_id, what), count in twice.items():
        books.add(db, f"config:{config_id}", {what: -count})


def _claim_within(db: Database, lanes: Mapping[str, Capacity], room: dam.Room, now: datetime) -> list[Claimed]:
    """Claim no more than there is room for, and share it between the lanes."""
    dam.gather(db, [lane.recipient for lane in lanes.values()], room.free, now)
    due = [each.admission for each in admission.due(db, lanes, now, room) if each.by(now)]
    claimed, left = [], room.free
    for waiting, admitted in zip(range(len(due), 0, -1), due, strict=True):
        share = min(admitted.free, math.ceil(left / waiting))
        claimed += (found := _claim(db, replace(admitted, free=share), now))
        left -= sum(each.notification.reason is not Reason.TEST for each in found)
    return claimed


def _claim(db: Database, admitted: Admission, now: datetime) -> list[Claimed]:
    """Lease the lane's oldest due deliveries, freeze digests, and write the attempts' rows."""
    lane = admitted.lane
    chosen: list[_Due] = []
    tests = 0
    for row in _due(db, admitted, now):
        if len(chosen) == lane.free:
            break
        if row.is_test:
            tests += 1
        elif len(chosen) - tests == admitted.free or not _may_leave(db, lane, row, now):
            continue
        chosen.append(row)
    events = _events_of(db, [row.id for row in chosen if row.count == 1])
    claimed = [_claimed(db, lane, row, now, events.get(row.id)) for row in _with_missed(db, lane, chosen)]
    _write_claims(db, lane, claimed, chosen, now)
    return claimed


def _may_leave(db: Database, lane: Capacity, row: _Due, now: datetime) -> bool:
    if row.count == 0:
        _cancel_empty(db, lane, row, now)
        return False
    if expiry.expired(db, lane, row.id, now):
        return False
    return not row.closing or ends.may_leave(db, lane.recipient.id, row.id, row.count, now)


def _cancel_empty(db: Database, lane: Capacity, row: _Due, now: datetime) -> None:
    """There should be none; but one that is must not stop the others."""
    db.run(
        "UPDATE deliveries SET state = 'cancelled', finished_at = ?, error = ? WHERE id = ?",
        [rfc3339(now), "it tells nothing", row.id],
    )
    tally.count_ends(db, [(lane.recipient.id, "cancelled")])


@dataclass(frozen=True, slots=True)
class _Due:
    id: str
    due_at: str
    seq: int
    state: str
    reason: str
    count: int
    attempts: int
    plan_from: int
    closing: int
    group_key: str
    first_attempt_at: str | None
    missed: int

    @property
    def is_test(self) -> bool:
        return self.reason == Reason.TEST.value


_DUE = (
    "SELECT id, due_at, seq, state, reason, count, attempts, plan_from, closing, group_key, first_attempt_at, missed"
    " FROM deliveries d WHERE config_id = ? AND state = ? AND due_at <= ? AND {} ORDER BY due_at, seq LIMIT ?"
)


def _due(db: Database, admitted: Admission, now: datetime) -> list[_Due]:
    """The oldest that may leave, of each state by its index. Where nothing else may, the first may be a test."""
    recipient, found = admitted.lane.recipient, []
    in_turn = admission.IN_TURN if admission.ordered(recipient) else "1"
    limit = max(admitted.free, 1)
    for state, waits in (("retrying", in_turn), ("pending", in_turn), ("gathering", admission.GATHERED)):
        due = db.run(_DUE.format(waits), [recipient.id, state, rfc3339(now), limit])
        found += [_Due(*row) for row in due]
    return sorted(found, key=lambda row: (row.due_at, row.seq))


def _with_missed(db: Database, lane: Capacity, chosen: Iterable[_Due]) -> Iterable[_Due]:
    """The first of them that may tells what expired; then nothing is left for the others to tell."""
    told = False
    for row in chosen:
        if told or row.missed or row.attempts != row.plan_from or row.is_test:
            yield row
        else:
            told = True
            yield replace(row, missed=expiry.missed(db, lane.recipient.id, row.id))


def _claimed(db: Database, lane: Capacity, row: _Due, now: datetime, event: rows.Row | None) -> Claimed:
    return Claimed(
        config_id=lane.recipient.id,
        notification=_notification(db, lane, row, [event] if event else _members(db, row)),
        attempt=row.attempts + 1,
        tries=row.attempts + 1 - row.plan_from,
        first_attempt_at=rows.moment(row.first_attempt_at) or now,
        lease=secrets.token_hex(8),
    )


_MEMBERS = "FROM verdicts v JOIN events e ON e.id = v.event_id WHERE v.delivery_id = ?"


def _events_of(db: Database, delivery_ids: list[str]) -> dict[str, rows.Row]:
    """The event of each delivery that tells one, as one statement for all of them."""
    found = db.run(
        f"SELECT v.delivery_id, {_EVENT}, e.condition FROM json_each(?) k JOIN verdicts v ON v.delivery_id = k.value"
        " JOIN events e ON e.id = v.event_id",
        [rows.dump(delivery_ids)],
    )
    return {row[0]: row[1:] for row in found}


def _members(db: Database, row: _Due) -> list[rows.Row]:
    """The events of a digest, at most SAMPLES: the first, and the last of all."""
    limit = SAMPLES - 1 if row.count > SAMPLES else SAMPLES
    found = db.run(f"SELECT {_EVENT}, e.condition {_MEMBERS} ORDER BY e.seq LIMIT {limit}", [row.id])
    if row.count > SAMPLES:
        found += db.run(f"SELECT {_EVENT}, e.condition {_MEMBERS} ORDER BY e.seq DESC LIMIT 1", [row.id])
    return found


def _notification(db: Database, lane: Capacity, row: _Due, found: Sequence[rows.Row]) -> Notification:
    """The delivery's events as one notification: the same at each attempt, for its members are frozen."""
    events = [rows.event_of(event) for event in found]
    first, last = min(e.timestamp for e in events), max(e.timestamp for e in events)
    if row.count > SAMPLES:
        ends = db.run(f"SELECT MIN(e.timestamp), MAX(e.timestamp) {_MEMBERS}", [row.id])[0]
        first, last = rows.moment(ends[0]), rows.moment(ends[1])
    sample = tuple(events)
    headline = sample[0] if row.count == 1 else describe.digest(sample, row.count, first, last, row.id)
    headline = describe.with_flood(headline) if row.reason == Reason.FLOOD.value else headline
    headline = describe.with_missed(headline, row.missed) if row.missed else headline
    conditions = {event[-1] for event in found}
    return Notification(
        id=row.id,
        config=lane.recipient.name,
        reason=Reason(row.reason),
        event=headline,
        events=sample,
        count=row.count,
        first_at=first,
        last_at=last,
        thread=conditions.pop() if len(conditions) == 1 else None,
        missed=row.missed,
    )


def _write_claims(db: Database, lane: Capacity, claimed: Sequence[Claimed], due: Sequence[_Due], now: datetime) -> None:
    moment, lease_until = rfc3339(now), rfc3339(now + lane.lease)
    db.write_many(
        "UPDATE deliveries SET state = 'sending', lease = ?, lease_until = ?, attempts = ?, first_attempt_at = ?"
        " WHERE id = ?",
        [(c.lease, lease_until, c.attempt, rfc3339(c.first_attempt_at), c.notification.id) for c in claimed],
    )
    db.write_many(
        "INSERT INTO notification_history (delivery_id, config_id, config_name, notification_type, attempt, event_id,"
        " event_type, severity, connector_id, entity_type, title, count, started_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_history_row(lane, c, moment) for c in claimed],
    )
    # A digest that leaves opens the next window of its group.
    until = now + lane.recipient.window
    planning.write_windows(db, {(lane.recipient.id, row.group_key): until for row in due if row.state == "gathering"})


def _history_row(lane: Capacity, claimed: Claimed, moment: str) -> rows.Row:
    n = claimed.notification
    return (
        n.id, claimed.config_id, lane.recipient.name, lane.notification_type, claimed.attempt, n.events[0].id,
        n.event.event_type.value, n.event.severity.value, n.event.connector_id, n.event.entity_type,
        n.event.title, n.count, moment,
    )  # fmt: skip


# -- settling ----------------------------------------------------------------------------------------


def _counted(item: Settled) -> tuple[str, str, float]:
    took = (item.finished_at - item.started_at).total_seconds() * 1000
    return item.claimed.config_id, item.outcome.result.value, max(took, 0.0)


def _end(item: Settled) -> str | None:
    """The final state that an attempt led to; None where it is tried again."""
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
