"""How much each lane may begin now: what its room, receiver, breaker and pace allow; or from when on it may again.

What waits in a lane without room neither keeps the sender awake nor makes anybody else wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from notifyd.core.breaker import Breaker, Standing
from notifyd.core.plan import Recipient
from notifyd.core.retry import DAY
from notifyd.model import rfc3339
from notifyd.store import lanes, rows
from notifyd.store.dam import Room
from notifyd.store.database import Database
from notifyd.store.planning import UNSENT

_MINUTE = timedelta(minutes=1)
_LATER = datetime.max.replace(tzinfo=UTC)
"""Not before something of the lane has ended, which wakes the sender."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much a config may take now: `free` deliveries at once, beside `busy`, each leased for `lease`."""

    recipient: Recipient
    notification_type: str
    free: int
    lease: timedelta
    busy: int = 0
    max_per_minute: int | None = None
    expire_after: timedelta | None = None
    retry_for: timedelta = DAY


@dataclass(frozen=True, slots=True)
class Admission:
    """A lane with room: `free` may begin now, and none before `opens_at`; but for tests, which may always."""

    lane: Capacity
    free: int
    opens_at: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """When the next delivery of a lane can be claimed; None if none waits."""

    admission: Admission
    at: datetime | None

    def by(self, now: datetime) -> bool:
        """Whether it can by now."""
        return self.at is not None and self.at <= now


def due(db: Database, capacities: Mapping[str, Capacity], now: datetime, room: Room | None = None) -> list[Due]:
    """When each lane with room can claim next; lanes whose breaker is not closed come last. `room` is that of all."""
    admitted = [*_admitted(db, capacities.values(), now)]
    if room is not None and not room.free:
        admitted = [replace(each, free=0, opens_at=max(each.opens_at, room.opens_at)) for each in admitted]
    found = {row[0]: row[1:] for row in db.run(_DUE, [rows.dump([_lane(each) for each in admitted])])}
    return [Due(each, _earliest(each, *found[each.lane.recipient.id])) for each in admitted]


# -- room, breaker, pace -----------------------------------------------------------------------------


def _admitted(db: Database, capacities: Iterable[Capacity], now: datetime) -> Iterable[Admission]:
    breakers, held = lanes.open_breakers(db), lanes.held(db, now)
    with_room = [lane for lane in capacities if lane.free > 0]
    for lane in sorted(with_room, key=lambda lane: lane.recipient.id in breakers):
        breaker = breakers.get(lane.recipient.id)
        admission = _probing(lane, breaker, now) if breaker else Admission(lane, lane.free, now)
        if lane.recipient.id in held:
            yield replace(admission, free=0, opens_at=max(admission.opens_at, held[lane.recipient.id]))
        else:
            yield _paced(db, admission, lane.max_per_minute, now) if lane.max_per_minute else admission


def _probing(lane: Capacity, breaker: Breaker, now: datetime) -> Admission:
    """One at a time, once the pause is over."""
    if breaker.standing(now) is Standing.OPEN:
        return Admission(lane, 0, breaker.probe_at or now)
    return Admission(lane, 0, _LATER) if lane.busy else Admission(lane, 1, now)


def _paced(db: Database, admission: Admission, most: int, now: datetime) -> Admission:
    """The history knows what began within the last minute, also after a restart."""
    begun = db.run(
        "SELECT started_at FROM notification_history WHERE config_id = ? AND started_at > ? AND event_type <> 'test'"
        " ORDER BY started_at DESC LIMIT ?",
        [admission.lane.recipient.id, rfc3339(now - _MINUTE), most],
    )
    if len(begun) < most:
        return replace(admission, free=min(admission.free, most - len(begun)))
    opens_at = max(admission.opens_at, rows.moment(begun[-1][0]) + _MINUTE)
    return replace(admission, free=0, opens_at=opens_at)


# -- what is due -------------------------------------------------------------------------------------

IN_TURN = (
    "NOT EXISTS (SELECT 1 FROM deliveries o WHERE o.config_id = d.config_id AND o.group_key = d.group_key"
    f" AND o.state IN {UNSENT} AND o.id <> d.id AND (o.seq < d.seq OR o.state = 'sending'))"
)
"""A group's deliveries leave one after the other, in their order."""

GATHERED = (
    "NOT EXISTS (SELECT 1 FROM deliveries o WHERE o.config_id = d.config_id AND o.group_key = d.group_key"
    f" AND o.state IN {UNSENT})"
)
"""A digest leaves when nothing of its group is on its way any more."""

_FIRST = (
    "(SELECT d.due_at FROM deliveries d WHERE d.config_id = lane.id AND d.state = '{}' AND {}"
    " ORDER BY d.due_at LIMIT 1)"
)
_TURNS = f"(NOT lane.ordered OR {IN_TURN})"
_DUE = (
    "WITH lane AS (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS ordered FROM json_each(?))"
    f" SELECT id, {_FIRST.format('retrying', _TURNS)}, {_FIRST.format('pending', _TURNS)},"
    f" {_FIRST.format('gathering', GATHERED)},"
    " (SELECT t.due_at FROM (SELECT due_at, reason FROM deliveries WHERE config_id = lane.id AND state = 'pending'"
    " ORDER BY due_at LIMIT 1) t WHERE t.reason = 'test') FROM lane"
)


def _lane(admission: Admission) -> list[object]:
    recipient = admission.lane.recipient
    return [recipient.id, ordered(recipient)]


def ordered(recipient: Recipient) -> bool:
    """Whether its groups keep their order: not where each event is by itself."""
    return bool(recipient.window)


def _earliest(
    admission: Admission, retrying: str | None, pending: str | None, gathering: str | None, test: str | None
) -> datetime | None:
    waiting = [rows.moment(moment) for moment in (retrying, pending, gathering) if moment]
    moments = [max(min(waiting), admission.opens_at)] if waiting else []
    if test:
        moments.append(rows.moment(test))
    first = min(moments, default=None)
    return None if first == _LATER else first
