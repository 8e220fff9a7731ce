"""The clock was set back: what waits does not wait as much longer."""

from __future__ import annotations

from datetime import timedelta

from notifyd.model import Hold, Result
from notifyd.store import set_back
from tests.core.findings import finding
from tests.core.logs import at
from tests.store.state import State

HOUR = timedelta(hours=1)


def test_what_is_pending_retried_or_gathering_is_due_as_before(state: State) -> None:
    state.tell(finding("first"), finding("other", connector_id="qb"))
    state.settle(state.turn(), Result.RETRY, "503", retry_in=timedelta(minutes=2))
    state.tell(finding("second", connector_id="pos"))
    state.now -= HOUR
    assert state.turn() == []
    assert set_back.earlier(state.db, HOUR, state.now) > 0
    assert len(state.turn()) == 1
    state.later(2)
    assert len(state.turn()) == 2
    state.check_books()


def test_a_hold_stays_until_its_time_of_day(state: State) -> None:
    until = at(60 * 9)
    state.tell(finding("held"), verdicts={("held", "ops"): Hold(until, "at night")})
    state.now -= HOUR
    set_back.earlier(state.db, HOUR, state.now)
    assert state.db.run("SELECT until FROM verdicts")[0][0].startswith(f"{until:%Y-%m-%dT%H:%M}")
