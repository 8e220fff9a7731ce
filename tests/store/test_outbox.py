"""The outbox: grouping, digests and holds."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from notifyd.core.ids import delivery_id
from notifyd.model import Hold, Reason, Result
from notifyd.store import books, outbox
from notifyd.store.claim import SAMPLES
from notifyd.store.database import Database
from tests.core.findings import failures, finding
from tests.core.logs import at
from tests.store.state import DEV, OPS, Delivery, State, told_by

# -- leading edge, then digest -------------------------------------------------------------------


def test_the_first_event_leaves_at_once_and_what_follows_leaves_together(state: State) -> None:
    state.tell(finding("1"))
    assert state.send() == [["1"]]
    state.tell(finding("2"))
    state.later(1)
    state.tell(finding("3"))
    assert state.send() == []
    state.later(4)
    assert state.send() == [["2", "3"]]
    assert state.deliveries == [Delivery("ops", "first", "sent", 1), Delivery("ops", "digest", "sent", 2)]


def test_a_digest_opens_the_next_window(state: State) -> None:
    state.tell(*failures(1, 2))
    state.send()
    state.later(5)
    assert state.send() == [["2"]]
    state.later(4)
    state.tell(finding("3"))
    assert state.send() == []
    state.later(1)
    assert state.send() == [["3"]]


def test_a_window_that_ends_empty_closes_the_group(state: State) -> None:
    state.tell(finding("1"))
    state.send()
    state.later(5)
    state.tell(finding("2"))
    assert state.send() == [["2"]]


def test_a_window_of_zero_sends_each_by_itself(db: Database) -> None:
    state = State(db, [DEV])
    state.tell(*failures(1, 3))
    assert state.send() == [["1"], ["2"], ["3"]]


def test_while_a_delivery_is_being_retried_its_digest_keeps_gathering(state: State) -> None:
    """A mended endpoint gets one message, not hundreds."""
    state.tell(finding("1"))
    for minute in range(1, 31):
        state.fail(state.turn(), retry_minutes=1)
        state.later(1)
        state.tell(finding(f"later {minute}"))
    assert state.send() == [["1"]]
    assert [len(told) for told in state.send()] == [SAMPLES]
    assert state.deliveries[1] == Delivery("ops", "digest", "sent", 30)


def test_an_event_of_another_group_does_not_wait(state: State) -> None:
    state.tell(finding("1"))
    state.fail(state.claim())
    state.tell(finding("2", connector_id="qb"))
    assert state.send() == [["2"]]


def test_at_most_one_digest_gathers_for_a_group(state: State) -> None:
    state.tell(*failures(1, 3))
    state.tell(*failures(4, 6))
    assert state.states == ["pending", "gathering"]
    with pytest.raises(sqlite3.IntegrityError), state.db.transaction():
        state.db.peewee.connection().execute("UPDATE deliveries SET state = 'gathering'")


def test_a_claim_freezes_the_members(state: State) -> None:
    state.tell(*failures(1, 2))
    state.send()
    state.later(5)
    digest = state.claim()
    state.tell(finding("3"))
    assert told_by(digest) == ["2"]
    state.fail(digest)
    state.later(1)
    assert told_by(state.claim()) == ["2"]
    assert state.deliveries[1:] == [
        Delivery("ops", "digest", "sending", 1),
        Delivery("ops", "digest", "gathering", 1),
    ]


def test_a_digest_tells_samples_and_how_many_there_are(state: State) -> None:
    state.tell(finding("0"))
    state.send()
    events = [finding(str(n), timestamp=at(n % 300)) for n in range(1, 501)]
    state.tell(*events)
    state.later(5)
    notification = state.claim().notification
    assert (notification.count, notification.reason) == (500, Reason.DIGEST)
    assert [event.id for event in notification.events] == [*(str(n) for n in range(1, SAMPLES)), "500"]
    assert (notification.first_at, notification.last_at) == (at(0), at(299))
    assert notification.event.title == "500 events: 1"


def test_one_event_is_its_own_headline(state: State) -> None:
    one = finding("1")
    state.tell(one)
    notification = state.claim().notification
    assert notification.event == one.event == notification.events[0]
    assert (notification.count, notification.config, notification.reason) == (1, "ops", Reason.FIRST)


def test_a_delivery_has_one_id_for_ever(state: State) -> None:
    state.tell(finding("1"))
    first = state.claim()
    state.fail(first)
    state.later(1)
    again = state.claim()
    assert first.notification == again.notification
    assert first.notification.id == delivery_id("ops", "1")
    assert (first.attempt, again.attempt) == (1, 2)


@pytest.mark.parametrize("attempts", [0, 1])
def test_what_was_claimed_and_not_begun_is_as_before(state: State, attempts: int) -> None:
    state.tell(finding("1"))
    if attempts:
        state.fail(state.claim(), retry_minutes=1)
        state.later(1)
    before = state.db.run("SELECT * FROM deliveries"), state.db.run("SELECT * FROM notification_history")
    claimed = state.claim()
    assert outbox.turn(state.db, [], {}, state.now, returned=[claimed]) == []
    assert (state.db.run("SELECT * FROM deliveries"), state.db.run("SELECT * FROM notification_history")) == before
    again = state.claim()
    assert (again.notification, again.attempt, again.tries) == (claimed.notification, attempts + 1, attempts + 1)


def test_what_was_taken_up_meanwhile_is_not_given_back(state: State) -> None:
    state.tell(finding("1"))
    late = state.claim()
    outbox.take_up(state.db, state.now, all_leases=True)
    second = state.claim()
    outbox.turn(state.db, [], {}, state.now, returned=[late])
    assert (state.states, second.attempt) == (["sending"], 2)
    assert state.db.run("SELECT attempt FROM notification_history ORDER BY attempt") == [(1,), (2,)]


def test_one_claim_tells_each_delivery_its_own_event(db: Database) -> None:
    state = State(db, [DEV])
    state.tell(*failures(1, 8))
    claimed = state.turn()
    assert [told_by(each) for each in claimed] == [[str(number)] for number in range(1, 9)]
    assert [each.notification.thread for each in claimed] == [None] * 8


def test_the_oldest_are_claimed_first_and_no_more_than_are_free(db: Database) -> None:
    state = State(db, [DEV], free=2)
    state.tell(*failures(1, 5))
    assert state.send() == [["1"], ["2"]]
    assert state.send() == [["3"], ["4"]]
    assert state.send() == [["5"]]
    assert state.send() == []


def test_one_config_s_dead_endpoint_does_not_delay_another(db: Database) -> None:
    state = State(db, [OPS, DEV])
    state.tell(finding("1"))
    mine, theirs = state.turn()
    state.fail(mine)
    state.settle(theirs)
    state.tell(finding("2"))
    assert [claimed.config_id for claimed in state.turn()] == ["dev"]


def test_nothing_is_claimed_before_it_is_due(state: State) -> None:
    state.tell(finding("1"))
    state.fail(state.claim(), retry_minutes=10)
    assert state.next_due == at(10)
    state.later(9.9)
    assert state.turn() == []
    state.later(0.1)
    assert state.claim().attempt == 2


def test_the_outbox_says_when_it_is_due_next(state: State) -> None:
    assert state.next_due is None
    state.tell(finding("1"), finding("2"), verdicts={("2", "ops"): Hold(at(3), "night")})
    assert state.next_due == at(0)
    state.send()
    assert state.next_due == at(3)


# -- what was held -------------------------------------------------------------------------------


def test_what_was_held_leaves_as_one_digest_and_the_books_stay_balanced(state: State) -> None:
    night = {(str(n), "ops"): Hold(at(60), "night") for n in range(1, 4)}
    state.tell(*failures(1, 3), verdicts=night)
    assert books.read(state.db)["config:ops"] == {"offered": 3, "held": 3}
    state.check_books()
    state.later(59.9)
    assert state.send() == []
    state.later(0.1)
    assert state.send() == [["1", "2", "3"]]
    assert state.deliveries == [Delivery("ops", "held", "sent", 3)]
    assert state.decided("1") == ("planned", "was held: night")
    assert books.read(state.db)["config:ops"] == {"offered": 3, "held": 0, "planned": 3}
    state.check_books()


def test_what_was_held_opens_the_window_of_its_group(state: State) -> None:
    state.tell(finding("1"), verdicts={("1", "ops"): Hold(at(60), "night")})
    state.later(60)
    state.send()
    state.tell(finding("2"))
    assert state.send() == []
    state.later(5)
    assert state.send() == [["2"]]


def test_what_is_held_for_one_config_is_told_to_another(db: Database) -> None:
    state = State(db, [OPS, DEV])
    state.tell(finding("1"), verdicts={("1", "ops"): Hold(at(60), "night")})
    assert state.send() == [["1"]]
    assert state.deliveries[0].config == "dev"


# -- size and strange texts ----------------------------------------------------------------------


def test_an_error_text_of_any_kind_is_kept(state: State) -> None:
    state.tell(finding("1"))
    state.settle(state.claim(), Result.REJECTED, "bad \ud800 \0 answer")
    assert state.states == ["dead"]
    assert state.db.run("SELECT error FROM deliveries") == state.db.run("SELECT error FROM notification_history")
    assert state.db.run("SELECT error FROM deliveries") == [("bad ? � answer",)]


def test_five_thousand_findings_for_three_configs(db: Database) -> None:
    """One batch, one transaction, no more than a few seconds even on a slow machine."""
    state = State(db, [OPS, DEV, replace(OPS, id="all", name="all", by=())])
    committed = state.tell(*failures(1, 5000))
    assert (committed.events, committed.untold) == (5000, 0)
    assert committed.deliveries == 2 + 5000 + 2
    state.later(5)
    counts = [claimed.notification.count for claimed in state.turn() if claimed.config_id != "dev"]
    assert counts == [1, 1]
    state.check_books()
