"""What a delivery waits for, in the words that `notifyd why` and the API have for it."""

from __future__ import annotations

from datetime import timedelta

from notifyd.core.plan import Recipient
from notifyd.model import Result
from notifyd.store import outbox, reads
from notifyd.store.database import Database
from notifyd.store.waiting import Waits, waits_for
from tests.core.findings import finding
from tests.core.logs import at
from tests.store.state import DEV, OPS, State
from tests.store.test_lanes import configured, failing


def waits(state: State, delivery_id: str, most_per_minute: int | None = None) -> Waits | None:
    delivery = reads.delivery(state.db, delivery_id)
    assert delivery is not None
    return waits_for(state.db, delivery, state.now, most_per_minute)


def says(db: Database, recipient: Recipient, column: str, value: str) -> None:
    """What the config has in its settings."""
    configured(db, recipient)
    with db.transaction():
        db.run(f'UPDATE notification_configs SET "{column}" = ? WHERE id = ?', [value, recipient.id])


def test_what_has_only_its_time_before_it_waits_for_nothing(db: Database) -> None:
    state = State(db, [DEV])
    state.tell(finding("1"))
    assert waits(state, state.ids[0]) is None
    state.fail(state.claim())
    assert waits(state, state.ids[0]) is None


def test_a_breaker_that_is_open_and_one_that_probes(db: Database) -> None:
    state = failing(db)
    fresh = state.ids[-1]
    assert waits(state, fresh) == Waits(
        "its channel fails: the breaker is open, until a probe gets through", at(0) + timedelta(seconds=1)
    )
    assert waits(state, state.ids[0]) is None, "its own time is later than the breaker's"
    state.later(seconds=1)
    assert waits(state, fresh) == Waits("its channel fails: one delivery at a time is tried, until one gets through")


def test_a_test_waits_for_no_breaker(db: Database) -> None:
    state = failing(db)
    assert waits(state, outbox.enqueue_test(db, DEV.id, DEV.name, state.now)) is None


def test_what_its_receiver_asked_for(db: Database) -> None:
    state = State(db, [DEV], free=1)
    state.tell(finding("1"), finding("2"))
    state.settle(state.claim(), Result.RETRY, "HTTP 429", timedelta(minutes=5), 429, after=300)
    assert waits(state, state.ids[1]) == Waits("its receiver asked to wait (Retry-After)", at(5))


def test_the_pace_of_its_config(db: Database) -> None:
    says(db, DEV, "others", '{"delivery": {"max_per_minute": 1}}')
    state = State(db, [DEV], max_per_minute=1)
    state.tell(finding("1"), finding("2"))
    state.send()
    assert waits(state, state.ids[1]) == Waits("its config has max_per_minute = 1", at(1))
    assert state.turn() == []
    state.later(1)
    assert waits(state, state.ids[1]) is None
    state.claim()


def test_the_cap_over_all_configs(db: Database) -> None:
    state = State(db, [DEV], most_per_minute=1)
    state.tell(finding("1"))
    state.send()
    state.tell(finding("2"))
    assert waits(state, state.ids[1], 1) == Waits("max_notifications_per_minute = 1 holds for all configs", at(1))
    assert waits(state, state.ids[1]) is None
    assert state.turn() == []


def test_an_earlier_one_of_its_group(db: Database) -> None:
    state = State(db, [OPS])
    state.tell(finding("1"))
    state.fail(state.claim(), 60)
    state.tell(finding("2"))
    state.later(10)
    first, digest = state.ids
    assert waits(state, digest) == Waits(f"{first} of the same group has not left yet")
    assert state.turn() == []


def test_where_each_leaves_by_itself_there_are_no_turns(db: Database) -> None:
    says(db, DEV, "group", '{"window": "0s"}')
    state = State(db, [DEV])
    state.tell(finding("1"))
    state.fail(state.claim(), 60)
    state.tell(finding("2"))
    assert waits(state, state.ids[1]) is None
    state.claim()


def test_what_has_ended_waits_for_nothing(db: Database) -> None:
    state = failing(db)
    state.later(seconds=1)
    state.fail(state.claim(), None)
    dead = state.ids[state.states.index("dead")]
    assert waits(state, dead) is None
