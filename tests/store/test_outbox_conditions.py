"""The outbox: what was told is folded, and an end goes to those who were told of its beginning."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from notifyd.model import Drop, EventType, Hold, Severity
from notifyd.store import outbox
from notifyd.store.database import Database
from tests.core.findings import announcement, failures, finding, recovery
from tests.core.logs import at
from tests.store.state import DEV, OPS, Delivery, State, told_by

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
