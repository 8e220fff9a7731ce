"""The outbox: leases and what comes of attempts, and what a person may do to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from notifyd.model import EventType, Hold, Outcome, Reason, Result
from notifyd.store import configs, outbox
from notifyd.store.configs import Provisioned
from notifyd.store.database import Database
from notifyd.store.outbox import Settled
from tests.core.findings import announcement, failures, finding, recovery
from tests.core.logs import NOON, at
from tests.store.state import DEV, LEASE, OPS, State

# -- leases --------------------------------------------------------------------------------------


def test_an_attempt_is_written_before_anything_is_sent(state: State) -> None:
    state.tell(finding("1"))
    claimed = state.claim()
    sql = "SELECT delivery_id, attempt, config_name, event_id, finished_at FROM notification_history"
    assert state.db.run(sql) == [(claimed.notification.id, 1, "ops", "1", None)]
    assert state.states == ["sending"]


def test_what_is_claimed_is_nobody_else_s(state: State) -> None:
    state.tell(finding("1"))
    state.claim()
    assert state.turn() == []


def test_settling_keeps_what_came_of_it(state: State) -> None:
    state.tell(finding("1"))
    claimed = state.claim()
    outcome = Outcome(Result.RETRY, "HTTP 503: down", status_code=503)
    state.turn(Settled(claimed, outcome, NOON, NOON + timedelta(seconds=1.5), at(1)))
    sql = "SELECT result, success, status_code, error, duration_ms FROM notification_history"
    assert state.db.run(sql) == [("retry", 0, 503, "HTTP 503: down", 1500.0)]
    assert state.db.run("SELECT state, error, finished_at FROM deliveries") == [("retrying", "HTTP 503: down", None)]


def test_settling_holds_only_while_the_lease_does(state: State) -> None:
    """Taken up meanwhile: the late answer is kept in the history, and the delivery is the other's."""
    state.tell(finding("1"))
    late = state.claim()
    state.later(2)
    assert outbox.take_up(state.db, state.now, all_leases=False) == 1
    again = state.claim()
    state.settle(late, Result.REJECTED, "HTTP 410")
    assert state.states == ["sending"]
    state.settle(again)
    assert state.states == ["sent"]
    assert state.db.run("SELECT attempt, result FROM notification_history") == [(1, "rejected"), (2, "sent")]


def test_a_lease_that_still_holds_is_not_taken_up(state: State) -> None:
    state.tell(finding("1"))
    state.claim()
    state.now += LEASE - timedelta(microseconds=1)
    assert outbox.take_up(state.db, state.now, all_leases=False) == 0
    state.now += timedelta(microseconds=1)
    assert outbox.take_up(state.db, state.now, all_leases=False) == 1


def test_after_a_crash_the_attempt_is_closed_and_the_delivery_goes_on(state: State) -> None:
    state.tell(finding("1"))
    crashed = state.claim()
    assert outbox.take_up(state.db, state.now, all_leases=True) == 1
    sql = "SELECT result, success, error FROM notification_history"
    assert state.db.run(sql) == [("unknown", 0, "unknown: the daemon stopped")]
    again = state.claim()
    assert (again.notification, again.attempt) == (crashed.notification, 2)


def test_taking_up_leaves_alone_what_is_not_in_flight(state: State) -> None:
    state.tell(*failures(1, 2))
    state.send()
    assert outbox.take_up(state.db, state.now, all_leases=True) == 0
    assert state.states == ["sent", "gathering"]


# -- what a person does --------------------------------------------------------------------------


def test_a_test_takes_the_same_way_as_all_else(state: State) -> None:
    identity = outbox.enqueue_test(state.db, "ops", "ops", state.now)
    claimed = state.claim()
    assert (claimed.notification.id, claimed.notification.reason) == (identity, Reason.TEST)
    assert claimed.notification.event.event_type is EventType.TEST
    state.settle(claimed)
    assert state.db.run("SELECT event_type, result FROM notification_history") == [("test", "sent")]
    state.check_books()


@pytest.mark.parametrize("result", [Result.SENT, Result.REJECTED])
def test_who_watches_is_not_told_how_a_test_ended(state: State, result: Result) -> None:
    outbox.enqueue_test(state.db, "ops", "ops", state.now)
    state.settle(state.claim(), result)
    state.tell(finding("1"))
    state.settle(state.claim(), result)
    ended = state.db.run("SELECT SUM(value) FROM counts WHERE scope LIKE 'config:%' AND what LIKE 'ended:%'")
    assert ended == [(1,)]


def test_tests_do_not_wait_for_each_other(state: State) -> None:
    for _ in range(3):
        outbox.enqueue_test(state.db, "ops", "ops", state.now)
    assert len(state.turn()) == 3


@pytest.mark.parametrize("lost", ["dead", "expired", "cancelled"])
def test_what_was_lost_can_be_queued_again_with_a_new_plan(state: State, lost: str) -> None:
    state.tell(finding("1"))
    first = state.claim()
    state.fail(first, retry_minutes=None)
    state.db.run("UPDATE deliveries SET state = ?", [lost])
    state.later(60)
    assert outbox.requeue(state.db, state.ids, state.now) == state.ids
    again = state.claim()
    assert again.notification == first.notification
    assert (again.attempt, again.tries, again.first_attempt_at) == (2, 1, state.now)


@pytest.mark.parametrize("how", ["disabled", "deleted"])
def test_what_nobody_would_send_is_not_queued_again(state: State, how: str) -> None:
    on = Provisioned("ops", "webhook", enabled=True, config="{}", filters="{}", group="{}", system=False)
    configs.provision(state.db, [on], state.now)
    state.tell(finding("1"))
    (identity,) = state.db.run("SELECT id FROM notification_configs")[0]
    state.db.run("UPDATE deliveries SET config_id = ?, state = 'dead'", [identity])
    configs.provision(state.db, [replace(on, enabled=False)] if how == "disabled" else [], state.now)
    assert outbox.requeue(state.db, state.ids, state.now) == []
    configs.provision(state.db, [on], state.now)
    assert outbox.requeue(state.db, state.ids, state.now) == state.ids


def test_what_was_attempted_once_has_its_members_for_ever(state: State) -> None:
    """Queued again, it waits like a new one; but it may have arrived, so nothing joins it any more."""
    state.tell(announcement())
    state.fail(state.claim(), retry_minutes=None)
    outbox.requeue(state.db, state.ids, state.now)
    state.tell(recovery())
    assert state.send() == [["streak"]]
    state.later(1)
    assert state.send() == [["end of streak"]]


def test_what_is_on_its_way_or_sent_is_not_queued_again(state: State) -> None:
    state.tell(finding("1"))
    assert outbox.requeue(state.db, state.ids, state.now) == []
    state.send()
    assert outbox.requeue(state.db, [*state.ids, "dlv_unknown"], state.now) == []


def test_tries_count_the_attempts_of_the_plan(state: State) -> None:
    state.tell(finding("1"))
    for attempt in (1, 2, 3):
        claimed = state.claim()
        assert (claimed.attempt, claimed.tries, claimed.first_attempt_at) == (attempt, attempt, NOON)
        state.fail(claimed)
        state.later(1)


def test_what_waits_for_a_config_that_is_off_is_cancelled_visibly(db: Database) -> None:
    state = State(db, [OPS, DEV])
    state.tell(*failures(1, 3), verdicts={("3", "ops"): Hold(at(60), "night")})
    assert outbox.cancel(db, "ops", "its config was disabled", state.now) == 2
    assert [(d.config, d.state) for d in state.deliveries] == [
        ("ops", "cancelled"),
        ("dev", "pending"),
        ("ops", "cancelled"),
        ("dev", "pending"),
        ("dev", "pending"),
    ]
    assert db.run("SELECT DISTINCT error FROM deliveries WHERE config_id = 'ops'") == [("its config was disabled",)]
    assert state.decided("3") == ("dropped", "its config was disabled")
    assert outbox.cancel(db, "ops", "its config was disabled", state.now) == 0
    state.check_books()


def test_what_was_sent_or_is_in_flight_is_not_cancelled(state: State) -> None:
    state.tell(finding("1"), finding("2", connector_id="qb"))
    one, _ = state.turn()
    state.settle(one)
    assert outbox.cancel(state.db, "ops", "its config was deleted", state.now) == 0
    assert state.states == ["sent", "sending"]
