"""Claiming: what is due becomes this daemon's by a lease, with its digest frozen and its attempt's row written.

Nothing is sent before that is committed. How much a lane may claim is decided in `admission.py` and `dam.py`.
"""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from notifyd.core import digests
from notifyd.core.plan import release
from notifyd.model import Finding, Notification, Reason, rfc3339
from notifyd.store import admission, books, dam, ends, expiry, planning, rows, tally
from notifyd.store.admission import Admission, Capacity
from notifyd.store.database import Database

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


def release_held(db: Database, lanes: Mapping[str, Capacity], now: datetime) -> None:
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


def within(db: Database, lanes: Mapping[str, Capacity], room: dam.Room, now: datetime) -> list[Claimed]:
    """Claim no more than there is room for, and share it between the lanes."""
    dam.gather(db, [lane.recipient for lane in lanes.values()], room.free, now)
    due = [each.admission for each in admission.due(db, lanes, now, room) if each.by(now)]
    claimed, left = [], room.free
    for waiting, admitted in zip(range(len(due), 0, -1), due, strict=True):
        share = min(admitted.free, math.ceil(left / waiting))
        claimed += (found := claim(db, replace(admitted, free=share), now))
        left -= sum(each.notification.reason is not Reason.TEST for each in found)
    return claimed


def claim(db: Database, admitted: Admission, now: datetime) -> list[Claimed]:
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
    headline = sample[0] if row.count == 1 else digests.digest(sample, row.count, first, last, row.id)
    headline = digests.with_flood(headline) if row.reason == Reason.FLOOD.value else headline
    headline = digests.with_missed(headline, row.missed) if row.missed else headline
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
