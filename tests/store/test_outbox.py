"""The outbox: grouping, folding, closing, leases, and what a person may do to it."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from notifyd.core.ids import delivery_id
from notifyd.model import Drop, EventType, Finding, Hold, Outcome, Reason, Result, Severity
from notifyd.store import books, configs, outbox
from notifyd.store.claim import SAMPLES
from notifyd.store.configs import Provisioned
from notifyd.store.database import Database
from notifyd.store.outbox import Settled
from tests.core.findings import announcement, finding, recovery
from tests.core.logs import NOON, at
from tests.store.state import DEV, LEASE, OPS, Delivery, State, told_by


def failures(first: int, last: int, condition: str | None = None) -> list[Finding]:
    return [finding(str(n), condition=condition) for n in range(first, last + 1)]


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


# -- folding -------------------------------------------------------------------------------------


def test_a_config_that_was_told_of_a_streak_hears_no_more_of_its_failures(db: Database) -> None:
    state = State(db, [OPS, DEV])
    state.tell(*failures(1, 3), announcement(), verdicts={("streak", "dev"): Drop("too late")})
    state.tell(finding("4", condition="streak"))
    assert state.decided("4", "ops")[0] == "folded"
    assert state.decided("4", "dev")[0] == "planned"
    state.check_books()


def test_also_while_the_announcement_is_on_its_way(state: State) -> None:
    state.tell(announcement())
    state.tell(finding("4", condition="streak"))
    state.fail(state.claim())
    state.tell(finding("5", condition="streak"))
    assert (state.decided("4")[0], state.decided("5")[0]) == ("folded", "folded")


def test_what_is_more_severe_than_was_told_is_told(state: State) -> None:
    milder = announcement()
    state.tell(replace(milder, event=replace(milder.event, severity=Severity.ERROR)))
    worse = finding("5", EventType.CONNECTION_FAILURE, condition="streak", severity=Severity.CRITICAL)
    state.tell(finding("4", condition="streak"), worse)
    assert (state.decided("4")[0], state.decided("5")[0]) == ("folded", "planned")


@pytest.mark.parametrize("lost", ["dead", "expired", "cancelled"])
def test_a_streak_whose_announcement_was_lost_was_not_told(state: State, lost: str) -> None:
    state.tell(announcement())
    state.fail(state.claim(), retry_minutes=None)
    state.db.run("UPDATE deliveries SET state = ?", [lost])
    state.tell(finding("4", condition="streak"))
    assert state.decided("4")[0] == "planned"


def test_a_reminder_tells_it_too(state: State) -> None:
    state.tell(announcement())
    state.fail(state.claim(), retry_minutes=None)
    state.tell(announcement("reminder", condition="streak"))
    state.tell(finding("4", condition="streak"))
    assert state.decided("4")[0] == "folded"


# -- closing events ------------------------------------------------------------------------------


def test_a_recovery_goes_to_those_that_were_told(db: Database) -> None:
    state = State(db, [OPS, DEV])
    state.tell(announcement(), verdicts={("streak", "dev"): Drop("too late")})
    assert state.send() == [["streak"]]
    state.tell(recovery())
    assert state.decided("end of streak", "dev") == ("dropped", "was not told of what this closes")
    assert state.send() == [["end of streak"]]
    assert state.deliveries[-1] == Delivery("ops", "recovery", "sent", 1)
    state.check_books()


def test_it_skips_the_filters(state: State) -> None:
    state.tell(announcement())
    state.send()
    state.tell(recovery(), verdicts={("end of streak", "ops"): Drop("too mild")})
    assert state.send() == [["end of streak"]]


def test_it_leaves_together_with_what_it_closes_where_that_still_waits(state: State) -> None:
    state.tell(announcement())
    state.tell(recovery())
    assert state.send() == [["streak", "end of streak"]]
    state.check_books()


def test_or_where_that_still_gathers(state: State) -> None:
    state.tell(announcement("streak"), announcement("other"))
    state.tell(recovery("other"))
    assert state.send() == [["streak"]]
    state.later(5)
    assert state.send() == [["other", "end of other"]]
    state.check_books()


def test_it_never_overtakes_what_it_closes(state: State) -> None:
    state.tell(announcement())
    state.fail(state.claim(), retry_minutes=10)
    state.tell(recovery())
    assert state.turn() == []
    state.later(10)
    opening = state.claim()
    assert told_by(opening) == ["streak"]
    assert state.turn() == []
    state.settle(opening)
    state.later(1)
    assert state.send() == [["end of streak"]]
    state.check_books()


def test_it_is_looked_at_again_when_what_it_closes_may_have_gone(state: State) -> None:
    """Soon enough, and not at every turn."""
    state.tell(announcement())
    state.fail(state.claim(), retry_minutes=60)
    state.tell(recovery())
    state.turn()
    assert timedelta(0) < state.due(state.ids[1]) - state.now <= timedelta(minutes=1)


def test_it_is_void_where_what_it_closes_died(state: State) -> None:
    state.tell(announcement())
    state.fail(state.claim(), retry_minutes=10)
    state.tell(recovery())
    state.turn()
    state.later(10)
    state.fail(state.claim(), retry_minutes=None)
    state.later(1)
    assert state.turn() == []
    assert state.states == ["dead", "cancelled"]
    assert state.decided("end of streak") == ("dropped", "what this closes was never delivered")
    state.check_books()


def test_an_end_that_is_void_leaves_its_digest_alone(state: State) -> None:
    """Of two ends in one digest, one closes what never arrived: the other leaves, once, and whole."""
    third, first, second = announcement("c"), announcement("a"), announcement("b")
    for each, connector in ((first, "x"), (second, "y"), (third, "z")):
        state.tell(replace(each, event=replace(each.event, connector_id=connector)))
    a, b, c = state.turn()
    state.settle(c)
    state.fail([a, b], retry_minutes=1)
    state.tell(recovery("c"))  # opens the group of the ends
    state.tell(recovery("a"), recovery("b"))
    assert state.send() == [["end of c"]]
    state.later(1)
    a, b = state.turn()
    state.settle(a)
    state.fail(b, retry_minutes=None)
    state.later(5)
    told = [ids for _ in range(5) for ids in state.send()]
    assert told == [["end of a"]]
    assert state.decided("end of b")[0] == "dropped"
    state.check_books()


def test_a_recovery_of_something_older_than_a_reminder_waits_for_the_reminder_too(state: State) -> None:
    state.tell(announcement())
    state.send()
    state.later(24 * 60)
    state.tell(announcement("reminder", condition="streak"))
    state.fail(state.claim(), retry_minutes=1)
    state.tell(recovery())
    assert state.turn() == []
    state.later(1)
    assert state.send() == [["reminder"]]
    state.later(1)
    assert state.send() == [["end of streak"]]


def test_a_recovery_of_what_is_held_is_held_and_both_leave_together(state: State) -> None:
    state.tell(announcement(), verdicts={("streak", "ops"): Hold(at(60), "night")})
    state.tell(recovery())
    assert state.decided("end of streak")[0] == "held"
    state.check_books()
    assert state.send() == []
    state.later(60)
    assert state.send() == [["streak", "end of streak"]]
    state.check_books()


def test_a_recovery_in_the_same_batch_as_what_is_held(state: State) -> None:
    state.tell(announcement(), recovery(), verdicts={("streak", "ops"): Hold(at(60), "night")})
    state.later(60)
    assert state.send() == [["streak", "end of streak"]]
    state.check_books()


def test_a_recovery_that_waits_behind_a_hold_is_cancelled_with_it(state: State) -> None:
    state.tell(announcement(), verdicts={("streak", "ops"): Hold(at(60), "night")})
    state.tell(recovery())
    outbox.cancel(state.db, "ops", "its config was disabled", state.now)
    assert state.decided("end of streak") == ("dropped", "its config was disabled")
    state.check_books()


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
    assert state.decided("1") == ("planned", "held until now: night")
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


# -- what a person does --------------------------------------------------------------------------


def test_a_test_takes_the_same_way_as_all_else(state: State) -> None:
    identity = outbox.enqueue_test(state.db, "ops", "ops", state.now)
    claimed = state.claim()
    assert (claimed.notification.id, claimed.notification.reason) == (identity, Reason.TEST)
    assert claimed.notification.event.event_type is EventType.TEST
    state.settle(claimed)
    assert state.db.run("SELECT event_type, result FROM notification_history") == [("test", "sent")]
    state.check_books()


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
