"""What a lane may begin: its breaker, its pace, the order of its groups, and that no lane keeps another waiting."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from notifyd.core.breaker import LONGEST_PAUSE, MINIMUM
from notifyd.core.plan import Recipient
from notifyd.model import Outcome, Result
from notifyd.store import audit, expiry, lanes, outbox, precedence, retention
from notifyd.store import failing as failing_channels
from notifyd.store.claim import Claimed
from notifyd.store.database import Database
from notifyd.store.outbox import Settled
from tests.core.findings import announcement, finding, recovery
from tests.core.logs import at
from tests.store.state import DEV, OPS, State, told_by

SECOND = timedelta(seconds=1)


def failing(db: Database, findings: int = 30, **delivery: object) -> State:
    """A lane whose breaker has just opened, with more waiting."""
    state = State(db, [DEV], free=MINIMUM, **delivery)
    configured(db, DEV)
    state.tell(*(finding(str(n)) for n in range(findings)))
    state.fail(state.turn())
    return state


def configured(db: Database, recipient: Recipient) -> None:
    with db.transaction():
        db.run(
            "INSERT INTO notification_configs (id, name, notification_type, enabled, config, filters, 'group', system,"
            " provisioned, created_at, updated_at) VALUES (?, ?, 'webhook', 1, '{}', '{}', '{}', 0, 1, '', '')",
            [recipient.id, recipient.name],
        )


def lane(state: State) -> lanes.LaneState:
    (found,) = lanes.listing(state.db, state.now)
    return found


# -- the breaker -------------------------------------------------------------------------------------


def test_an_open_breaker_lets_one_attempt_through_at_a_time(db: Database) -> None:
    state = failing(db)
    assert (lane(state).breaker, lane(state).failed, lane(state).failing_since) == ("open", MINIMUM, at(0))
    assert state.turn() == []
    assert state.next_due == state.now + SECOND
    state.later(seconds=1)
    probe = state.claim()
    state.delivery["busy"] = 1
    assert lane(state).breaker == "half-open"
    assert state.turn() == []
    assert state.next_due is None  # the end of the probe wakes the sender
    state.delivery["busy"] = 0
    state.fail(probe)
    assert state.next_due == state.now + 2 * SECOND
    state.later(seconds=2)
    state.settle(state.claim())
    assert lane(state).breaker == "closed"
    assert len(state.turn()) == MINIMUM


def test_a_restart_does_not_close_it(db: Database) -> None:
    state = failing(db)
    outbox.take_up(db, state.now, all_leases=True)
    again = State(db, [DEV])
    again.now = state.now
    assert again.turn() == []
    assert lane(again).error == "HTTP 503"


def test_a_bug_of_the_plugin_counts_and_a_stop_of_the_daemon_does_not(db: Database) -> None:
    state = State(db, [DEV])
    configured(db, DEV)
    state.tell(*(finding(str(n)) for n in range(8)))
    claimed = state.turn()
    state.settle(claimed[:4], Result.UNKNOWN, "unknown: the daemon stopped", retry_in=SECOND)
    assert lanes.listing(db, state.now) == []
    state.settle(claimed[4:], Result.BUG, "bug in the channel", retry_in=SECOND)
    assert lane(state).failed == 4


def test_what_rejects_everything_loses_few_of_its_deliveries(db: Database) -> None:
    """The others wait for whoever mends the endpoint."""
    state = State(db, [DEV], free=MINIMUM)
    state.tell(*(finding(str(n)) for n in range(40)))
    for _ in range(100):
        state.settle(state.turn(), Result.REJECTED, "HTTP 403")
        state.later(seconds=1)
    assert state.states.count("dead") < MINIMUM + 10


def test_a_target_that_is_gone_costs_two_deliveries_whatever_went_well_before(db: Database) -> None:
    state = State(db, [DEV], free=1)
    configured(db, DEV)
    state.tell(*(finding(str(n)) for n in range(40)))
    for _ in range(20):
        state.send()
    for _ in range(10):
        state.settle(state.turn(), Result.REJECTED, "HTTP 410", status_code=410)
    assert state.states.count("dead") == 2
    assert (lane(state).breaker, lane(state).failed) == ("open", 2)
    (told,) = failing_channels.to_tell(db, timedelta(0), state.now)
    assert told.dead == 2


def test_a_channel_that_is_about_to_be_tried_is_told_of_after_that(db: Database) -> None:
    """What is given up when it fails once more is then counted."""
    state = failing(db, findings=MINIMUM + 1, retry_for=timedelta(seconds=45))
    lasting = timedelta(seconds=60)
    for pause in (1, 2, 4, 8, 16):
        state.later(seconds=pause)
        state.settle(state.claim(), Result.RETRY, "HTTP 503", SECOND)
    state.later(seconds=29)
    assert failing_channels.to_tell(db, lasting, state.now) == [], "the next probe is due in a second"
    state.later(seconds=1)
    probe = state.claim()
    assert failing_channels.to_tell(db, lasting, state.now) == [], "it is being tried"
    state.turn(Settled(probe, Outcome(Result.RETRY, "HTTP 503"), state.now, state.now, at(600)))
    (told,) = failing_channels.to_tell(db, lasting, state.now)
    assert (told.dead, state.states.count("dead")) == (MINIMUM, MINIMUM)


def test_a_channel_that_is_always_about_to_be_tried_is_told_of_all_the_same(db: Database) -> None:
    state = failing(db)
    state.later(seconds=89)
    assert failing_channels.to_tell(db, timedelta(seconds=60), state.now) == []
    state.later(seconds=1)
    assert failing_channels.to_tell(db, timedelta(seconds=60), state.now) != []


def test_a_test_that_failed_is_not_given_up(db: Database) -> None:
    state = failing(db)
    precedence.put_first(db, outbox.enqueue_test(db, DEV.id, DEV.name, state.now))
    state.fail(state.claim(), None)
    (told,) = failing_channels.to_tell(db, timedelta(0), state.now)
    assert told.dead == 0
    assert (audit.status(db, state.now).deliveries["dead"], audit.status(db, state.now).given_up) == (1, 0)
    state.check_books()


def test_a_plan_of_retries_ends_behind_an_open_breaker(db: Database) -> None:
    """Once one more attempt has failed; what never had one before has a plan of its own."""
    state = failing(db, findings=MINIMUM + 1, retry_for=timedelta(hours=6))
    state.later(60 * 6)
    probe = state.claim()
    assert "dead" not in state.states  # a daemon that was off would try first
    state.later(seconds=1)
    state.turn(Settled(probe, Outcome(Result.RETRY, "HTTP 503"), state.now, state.now, at(600)))
    assert state.states == ["dead"] * MINIMUM + ["retrying"]
    ((error,),) = db.run("SELECT error FROM deliveries WHERE id = ?", [state.ids[1]])
    assert error == "not delivered within 6h, the channel failing all the while; the last attempt: HTTP 503"
    state.check_books()


def test_a_plan_that_has_not_ended_goes_on(db: Database) -> None:
    state = failing(db, findings=MINIMUM, retry_for=timedelta(hours=6))
    state.later(60 * 5)
    probe = state.claim()
    state.turn(Settled(probe, Outcome(Result.RETRY, "HTTP 503"), state.now, state.now, at(600)))
    assert set(state.states) == {"retrying"}


def test_a_person_s_test_goes_out_at_once_and_closes_it(db: Database) -> None:
    state = failing(db, max_per_minute=1)
    test = outbox.enqueue_test(db, "dev", "dev", state.now)
    precedence.put_first(db, test)
    assert state.next_due is not None
    assert state.next_due <= state.now
    claimed = state.claim()
    assert claimed.notification.id == test
    state.settle(claimed)
    assert lane(state).breaker == "closed"


def test_tests_that_fail_open_nothing(db: Database) -> None:
    state = State(db, [DEV])
    configured(db, DEV)
    for _ in range(10):
        outbox.enqueue_test(db, "dev", "dev", state.now)
        state.settle(state.turn(), Result.REJECTED, "HTTP 403")
    assert lanes.listing(db, state.now) == []


# -- what a receiver asks for -------------------------------------------------------------------------


def busy(state: State, after: float, first: int = 1) -> None:
    """Of what is due, this many are answered with 429 and so many seconds; the others are given back."""
    claimed = state.turn()
    wait = timedelta(seconds=after)
    state.settle(claimed[:first], Result.RETRY, "HTTP 429", retry_in=wait, status_code=429, after=after)
    with state.db.transaction():
        outbox.give_back(state.db, claimed[first:])


def test_a_retry_after_holds_the_whole_lane_also_after_a_restart_and_no_other(db: Database) -> None:
    state = State(db, [DEV, OPS])
    configured(db, DEV)
    state.tell(*(finding(str(n)) for n in range(4)))
    state.settle(claimed for claimed in state.turn() if claimed.config_id == "ops")
    outbox.take_up(db, state.now, all_leases=True)
    busy(state, 90)
    assert lane(state).held_until == state.now + timedelta(seconds=90)
    state.later(seconds=89)
    again = State(db, [DEV, OPS])
    again.now = state.now
    assert [claimed.config_id for claimed in again.turn()] == []
    assert again.next_due == state.now + SECOND
    again.tell(finding("more", connector_id="qb"))
    assert [claimed.config_id for claimed in again.turn()] == ["ops"]
    again.later(seconds=1)
    assert len(again.turn()) == 5
    assert lane(again).held_until is None


def test_it_holds_no_longer_than_a_quarter_of_an_hour(db: Database) -> None:
    state = State(db, [DEV])
    state.tell(finding("1"), finding("2"))
    for claimed, after in zip(state.turn(), (86_400, 1), strict=True):  # the longer of two wishes counts
        state.settle(claimed, Result.RETRY, "HTTP 503", retry_in=SECOND, after=after)
    assert state.next_due == state.now + lanes.LONGEST_HOLD
    test = outbox.enqueue_test(db, "dev", "dev", state.now)
    precedence.put_first(db, test)
    assert [claimed.notification.id for claimed in state.turn()] == [test]


def test_held_groups_keep_their_order(db: Database) -> None:
    state = State(db, [OPS])
    for n in range(3):
        state.tell(finding(str(n)))
        state.fail(state.turn(), retry_minutes=None)
        state.later(6)
    outbox.requeue(db, state.ids, state.now)
    busy(state, 30)
    state.later(seconds=30)
    assert [state.send() for _ in range(3)] == [[["0"]], [["1"]], [["2"]]]


# -- pace --------------------------------------------------------------------------------------------


def test_no_more_begin_within_any_minute_also_after_a_restart(db: Database) -> None:
    state = State(db, [DEV], max_per_minute=3)
    state.tell(*(finding(str(n)) for n in range(20)))
    begun = []
    for _ in range(200):
        claimed = State(db, [DEV], max_per_minute=3)
        claimed.now = state.now
        begun += [state.now for _ in claimed.send()]
        state.later(seconds=7)
    assert len(begun) == 20
    assert all(later - earlier >= timedelta(minutes=1) for earlier, later in zip(begun, begun[3:], strict=False))


# -- fairness ----------------------------------------------------------------------------------------


def test_what_waits_in_a_full_lane_is_not_due(db: Database) -> None:
    """Another config's retry would be late by the sender's rest."""
    state = State(db, [DEV, OPS])
    state.tell(finding("1"))
    mine = next(claimed for claimed in state.turn() if claimed.config_id == "ops")
    state.tell(*(finding(str(n)) for n in range(2, 30)))
    while state.turn():
        pass
    state.fail(mine, retry_minutes=0.005)
    full = {**state.lanes, "dev": replace(state.lanes["dev"], free=0)}
    assert outbox.next_due(db, full, state.now) == state.now + timedelta(seconds=0.3)


def test_a_digest_that_waits_for_its_group_is_not_due(state: State) -> None:
    state.tell(finding("1"), finding("2"))
    state.fail(state.turn(), retry_minutes=30)
    state.later(10)
    assert state.next_due == at(30)


def test_the_deliveries_of_a_group_leave_in_their_order(db: Database) -> None:
    """Also where a person sends the whole lot again, and the first is tried again later."""
    state = State(db, [OPS])
    for n in range(3):
        state.tell(finding(str(n)))
        state.fail(state.turn(), retry_minutes=None)
        state.later(6)
    outbox.requeue(db, state.ids, state.now)
    state.fail(state.claim(), retry_minutes=2)
    assert state.turn() == []
    assert state.next_due == state.now + timedelta(minutes=2)
    state.later(2)
    assert [state.send() for _ in range(3)] == [[["0"]], [["1"]], [["2"]]]


# -- expiry ------------------------------------------------------------------------------------------

HOUR = timedelta(hours=1)


def test_what_is_too_old_is_not_sent_and_the_next_one_says_so(db: Database) -> None:
    state = State(db, [DEV], expire_after=HOUR)
    state.tell(finding("1"), finding("2"))
    state.fail(state.turn(), retry_minutes=61)
    state.later(62)
    assert state.turn() == []
    assert state.states == ["expired", "expired"]
    assert expiry.untold_events(db, "dev") == 2
    ((error,),) = db.run("SELECT DISTINCT error FROM deliveries")
    assert error == "expired: found more than 1h ago, and not delivered by now; the last attempt: HTTP 503"
    state.check_books()

    state.tell(finding("3"))
    claimed = state.claim()
    assert claimed.notification.missed == 2
    assert "2 events could not be delivered in time" in claimed.notification.event.message
    state.fail(claimed)
    state.later(1)
    assert again(state).notification.missed == 2  # the same at each attempt
    state.tell(finding("4"))
    assert again(state).notification.missed == 0  # and only once


def again(state: State) -> Claimed:
    claimed = state.claim()
    state.settle(claimed)
    return claimed


def test_what_told_of_it_and_died_leaves_it_to_the_next(db: Database) -> None:
    state = State(db, [DEV], expire_after=HOUR)
    state.tell(finding("1"))
    state.later(62)
    state.turn()
    state.tell(finding("2"))
    state.fail(state.claim(), retry_minutes=None)
    state.tell(finding("3"))
    assert again(state).notification.missed == 1


def test_age_counts_from_when_it_was_found(db: Database) -> None:
    """Not from the row's own time, nor, in a digest, from the first; and what a filter held is not late."""
    state = State(db, [OPS], expire_after=HOUR)
    state.tell(finding("1", timestamp=at(-600)))
    assert state.send() == [["1"]]
    state.tell(finding("2"))
    state.later(58)
    state.tell(finding("3"))
    state.later(4)
    assert state.send() == [["2", "3"]]


def test_an_end_and_what_a_person_asked_for_do_not_expire(db: Database) -> None:
    state = State(db, [DEV], expire_after=HOUR)
    state.tell(finding("1"))
    state.later(62)
    state.turn()
    outbox.requeue(db, state.ids, state.now)
    state.later(120)
    assert state.send() == [["1"]]
    assert db.run("SELECT told_in FROM deliveries") == [(None,)]


def test_the_sweep_finds_what_is_not_due(db: Database) -> None:
    state = State(db, [DEV], expire_after=HOUR)
    state.tell(finding("1"))
    state.fail(state.turn(), retry_minutes=600)
    state.later(62)
    assert expiry.sweep(db, state.lanes.values(), state.now) == 1
    assert state.states == ["expired"]
    retention.prune(db, state.now + timedelta(days=100), timedelta(days=90), timedelta(days=365))
    state.check_books()


# -- an end that belongs to a beginning --------------------------------------------------------------


def test_a_beginning_that_is_sent_again_takes_its_end_along(db: Database) -> None:
    """It was dropped while the beginning was dead; without it, people would believe that it goes on."""
    state = State(db, [OPS])
    state.tell(announcement())
    state.fail(state.turn(), retry_minutes=None)
    state.tell(recovery())
    assert state.decided(recovery().event.id)[0] == "dropped"
    outbox.requeue(db, state.ids, state.now)
    (claimed,) = state.turn()
    assert told_by(claimed) == [announcement().event.id, recovery().event.id]
    state.settle(claimed)
    assert state.decided(recovery().event.id)[0] == "planned"
    state.check_books()


def test_the_longest_pause_is_shorter_than_a_minute() -> None:
    assert timedelta(minutes=1) > LONGEST_PAUSE
