"""What is old goes; what is open, waiting or newly ended stays; and the books balance for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifyd.core.detect import detect
from notifyd.core.memory import Memory
from notifyd.core.rules import Rules
from notifyd.model import Drop, Hold
from notifyd.store import books, memory, retention, trail
from notifyd.store.retention import BATCH
from notifyd.store.trail import Actor, Deed
from tests.core.findings import announcement, finding, recovery
from tests.core.logs import RECORDS, RUNS, at, fold, row
from tests.store.state import SOURCE, State

DAYS = timedelta(days=1)


def prune(state: State) -> int:
    """All that is older than 90 days; how many rows went."""
    rounds = iter(lambda: retention.prune(state.db, state.now, 90 * DAYS, 365 * DAYS), 0)
    return sum(rounds)


def left(state: State, table: str) -> int:
    count: int = state.db.run(f"SELECT COUNT(*) FROM {table}")[0][0]
    return count


def test_what_ended_long_ago_goes_with_all_that_belongs_to_it(state: State) -> None:
    state.tell(finding("1"), finding("2", connector_id="qb"), verdicts={("2", "ops"): Drop("too mild")})
    state.send()
    state.now += 89 * DAYS
    prune(state)
    assert (left(state, "events"), left(state, "deliveries")) == (2, 1)
    state.now += 2 * DAYS
    assert prune(state) > 0
    assert {t: left(state, t) for t in ("events", "verdicts", "deliveries", "notification_history", "windows")} == {
        "events": 0,
        "verdicts": 0,
        "deliveries": 0,
        "notification_history": 0,
        "windows": 0,
    }
    assert books.read(state.db)["config:ops"]["pruned"] == 1
    state.check_books()


def test_what_waits_or_is_held_or_ended_lately_stays(state: State) -> None:
    hold = {("held", "ops"): Hold(at(60 * 24 * 365), "sabbatical")}
    state.tell(finding("1"), finding("gathers"), finding("held", connector_id="qb"), verdicts=hold)
    claimed = state.claim()
    state.now += 100 * DAYS
    assert prune(state) == 1  # the window that the first opened
    state.settle(claimed)
    assert prune(state) == 0
    assert left(state, "events") == 3
    state.check_books()


def test_an_open_streak_keeps_what_opened_it(state: State) -> None:
    state.commit(detect(Memory(), [row(n, "failure", n) for n in range(4)], Rules(), RUNS))
    state.send()
    state.now += 100 * DAYS
    prune(state)
    kept = state.db.run("SELECT event_type FROM events ORDER BY seq")
    assert ("consecutive_failures",) in kept


def test_who_was_told_of_an_open_streak_is_known_when_it_ends(state: State) -> None:
    """However long it lasted: its delivery stays as long as what it tells."""
    found = detect(Memory(), [row(n, "failure", n) for n in range(4)], Rules(), RUNS)
    state.commit(found)
    state.send()
    state.later(6)
    state.send()
    state.now += 100 * DAYS
    prune(state)
    (streak,) = found.streaks.values()
    state.tell(recovery(streak.announced or ""))
    assert len(state.send()) == 1
    state.db.run("UPDATE streaks SET announced = NULL")
    state.now += 100 * DAYS
    prune(state)
    assert (left(state, "events"), left(state, "deliveries"), left(state, "verdicts")) == (0, 0, 0)
    state.check_books()


@pytest.mark.parametrize(
    "opens",
    [
        "UPDATE cursors SET condition = 'open'",
        "UPDATE runs SET stuck = 'open' WHERE state = 'open'",
        "INSERT INTO lanes (config_id, outcomes, probes, condition) VALUES ('dev', 'f', 0, 'open')",
    ],
    ids=["outage", "stuck", "channel"],
)
def test_so_it_is_of_other_conditions(state: State, opens: str) -> None:
    state.commit(detect(Memory(), [row("9", "running", 9)], Rules(), RUNS))
    state.tell(finding("open", condition="open"), finding("other", connector_id="qb"))
    state.send()
    state.db.run(opens)
    state.now += 100 * DAYS
    prune(state)
    assert state.db.run("SELECT id FROM events") == [("open",)]
    assert left(state, "deliveries") == 1
    state.check_books()


def test_a_giant_digest_goes_over_several_batches(state: State) -> None:
    state.tell(finding("first"))
    state.send()
    state.tell(*(finding(str(n)) for n in range(3 * BATCH)), *(finding(f"x{n}") for n in range(3 * BATCH)))
    state.later(6)
    state.send()
    state.now += 100 * DAYS
    retention.prune(state.db, state.now, 90 * DAYS, 365 * DAYS)
    assert left(state, "verdicts") == 1 + 6 * BATCH - 5 * BATCH
    state.check_books()
    prune(state)
    assert (left(state, "events"), left(state, "deliveries"), left(state, "verdicts")) == (0, 0, 0)
    state.check_books()


def test_schedules_that_are_silent_go_but_for_those_that_fail_or_were_told(state: State) -> None:
    log = [row("1", "success", 0, schedule_id="good"), row("2", "failure", 0, schedule_id="bad")]
    log += [row(f"t{n}", "failure", n, schedule_id="told") for n in range(3)]
    state.commit(detect(Memory(), log, Rules(), RUNS))
    state.now += 89 * DAYS
    prune(state)
    assert left(state, "streaks") == 3
    state.now += 2 * DAYS
    prune(state)
    assert [row[0] for row in state.db.run("SELECT schedule_id FROM streaks ORDER BY 1")] == ["bad", "told"]


@pytest.mark.parametrize("days", [6, 8])
def test_a_run_that_ended_is_remembered_for_a_week(state: State, days: int) -> None:
    """B failed and was told, so that it stays for as long as its event."""
    log = [row("1", "success", 0, run_id="A"), row("2", "failure", 1, run_id="B"), row("3", "success", 2, run_id="C")]
    state.commit(detect(Memory(), log, Rules(), RECORDS))
    state.now += days * DAYS
    prune(state)
    known = memory.load(state.db, SOURCE, log, None, RECORDS)
    assert {run_id for _, run_id in known.runs} == ({"A", "B", "C"} if days == 6 else {"B", "C"})
    assert fold(*log).memory.streaks == known.streaks


def test_the_audit_trail_has_a_time_of_its_own(state: State) -> None:
    for number in range(BATCH + 10):
        trail.note(state.db, Actor("ci"), Deed("config.tested", f"cfg_{number}"), state.now)
    state.now += 364 * DAYS
    trail.note(state.db, Actor("ci"), Deed("config.deleted", "cfg_0"), state.now)
    assert prune(state) == 0
    state.now += 2 * DAYS
    assert prune(state) == BATCH + 10
    assert [entry.action for entry in trail.page(state.db).items] == ["config.deleted"]


def test_it_goes_in_batches(state: State) -> None:
    state.tell(*(finding(str(n)) for n in range(BATCH + 10)), verdicts={
        (str(n), "ops"): Drop("too mild") for n in range(BATCH + 10)
    })  # fmt: skip
    state.now += 100 * DAYS
    assert retention.prune(state.db, state.now, 90 * DAYS, 365 * DAYS) == BATCH
    assert retention.prune(state.db, state.now, 90 * DAYS, 365 * DAYS) == 10
    assert retention.prune(state.db, state.now, 90 * DAYS, 365 * DAYS) == 0


def test_the_books_count_what_went(state: State) -> None:
    state.tell(announcement(), *(finding(str(n)) for n in range(30)))
    state.send()
    state.later(5)
    state.send()
    before = books.read(state.db)
    state.now += 100 * DAYS
    prune(state)
    assert left(state, "deliveries") == 0
    after = books.read(state.db)
    assert after["config:ops"]["planned"] == before["config:ops"]["planned"] == after["config:ops"]["pruned"]
    assert after[f"source:{SOURCE}"]["events_pruned"] == 31
    state.check_books()
