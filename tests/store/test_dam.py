"""The cap over all configs: never more within a minute, nothing lost, and one digest for each config that says so."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifyd.model import EventType, Result
from notifyd.store import outbox, precedence
from notifyd.store.database import Database
from notifyd.store.revival import revive, revive_all
from notifyd.store.trail import Actor
from tests.core.findings import announcement, finding, recovery
from tests.core.logs import at
from tests.store.state import DEV, OPS, State, told_by


@pytest.fixture
def state(db: Database) -> State:
    """Two configs, and four notifications a minute for both."""
    return State(db, [OPS, DEV], most_per_minute=4)


def flood(state: State, number: int, first: int = 0) -> None:
    state.tell(*(finding(str(n), connector_id=f"c{n}") for n in range(first, first + number)))


def test_below_the_cap_each_is_told_as_ever(state: State) -> None:
    flood(state, 2)
    assert sorted(state.send()) == [["0"], ["0"], ["1"], ["1"]]
    assert "cancelled" not in state.states


def test_beyond_it_everything_gathers_and_says_so(state: State) -> None:
    flood(state, 50)
    claimed = state.turn()
    assert [(each.config_id, each.notification.count) for each in claimed] == [("dev", 50), ("ops", 50)] or [
        (each.config_id, each.notification.count) for each in claimed
    ] == [("ops", 50), ("dev", 50)]
    assert all(each.notification.reason == "flood" for each in claimed)
    assert all("max_notifications_per_minute" in each.notification.event.message for each in claimed)
    told, *others = [state.decided(str(n))[1] for n in range(50)]
    assert set(others) == {"gathered: more than may be told within a minute"} != {told}
    state.check_books()


def test_never_more_within_any_minute_and_nothing_is_lost(db: Database, state: State) -> None:
    """However the failures come, and over restarts."""
    begun, told = [], []
    for step in range(60):
        if step < 30:
            flood(state, step % 7, first=step * 10)
        again = State(db, [OPS, DEV], most_per_minute=4)
        again.now = state.now
        for claimed in again.turn():
            begun.append(state.now)
            told += [(claimed.config_id, event) for event in told_by(claimed)]
            again.settle(claimed)
        state.check_books()
        state.later(seconds=11)
    assert all(later - earlier >= timedelta(minutes=1) for earlier, later in zip(begun, begun[4:], strict=False))
    planned = db.run("SELECT config_id, event_id FROM verdicts WHERE decided = 'planned'")
    assert db.run("SELECT COUNT(*) FROM deliveries WHERE state NOT IN ('sent', 'cancelled')") == [(0,)]
    assert len(planned) == 2 * sum(step % 7 for step in range(30))
    assert set(told) <= set(planned)  # a digest tells the first twenty and the last one by one


def test_what_gathered_elsewhere_has_no_second_life(db: Database, state: State) -> None:
    """It tells nothing any more; and if it were due all the same, it would stop nobody else."""
    flood(state, 50)
    told = state.turn()
    assert revive_all(db, "cancelled", None, Actor("kim"), state.now) == []
    identity, error = db.run("SELECT id, error FROM deliveries WHERE state = 'cancelled' LIMIT 1")[0]
    assert any(error.startswith(f"not lost: {claimed.notification.id} tells it") for claimed in told)
    assert "tells nothing any more" in (revive(db, identity, Actor("kim"), state.now) or "")
    db.run("UPDATE deliveries SET state = 'pending' WHERE id = ?", [identity])
    state.later(minutes=2)
    flood(state, 1, first=1000)
    assert ["1000"] in state.send()
    assert db.run("SELECT state FROM deliveries WHERE id = ?", [identity]) == [("cancelled",)]


def test_what_failed_reached_nobody(state: State) -> None:
    """A dead endpoint must not use up what the others may send."""
    flood(state, 2)
    for claimed in state.turn():
        if claimed.config_id == "ops":
            state.fail(claimed, retry_minutes=30)
        else:
            state.settle(claimed)
    flood(state, 1, first=10)
    assert [each.config_id for each in state.turn()] == ["ops", "dev"]


def test_it_opens_again_after_the_minute_and_the_sender_knows_when(state: State) -> None:
    flood(state, 2)
    state.send()
    flood(state, 1, first=10)
    assert state.turn() == []
    assert state.next_due == at(1)
    state.later(1)
    assert sorted(state.send()) == [["10"], ["10"]]


def test_tests_go_out_and_are_not_counted(state: State) -> None:
    flood(state, 2)
    state.send()
    test = outbox.enqueue_test(state.db, "ops", "ops", state.now)
    precedence.put_first(state.db, test)
    assert state.claim().notification.id == test


def test_an_end_stays_by_itself_behind_what_it_closes(db: Database) -> None:
    state = State(db, [DEV], most_per_minute=1)
    state.tell(announcement())
    state.settle(state.claim(), Result.SENT)
    state.tell(recovery(), finding("1"), finding("2", EventType.RATE_LIMIT))
    sent = []
    for _ in range(5):
        state.later(1)
        sent += state.send()
    assert sorted(sent) == [["1", "2"], ["end of streak"]]
    state.check_books()
