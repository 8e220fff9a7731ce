"""A row that has ended is watched for a while: run again in place, it is a new occurrence; read again, nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from notifyd.core.detect import GIVEN_UP, Gone, Input, Past, Tick, detect
from notifyd.core.watching import MOST_AT_ONCE, MOST_ENDED, MOST_OPEN, MOST_SILENT, Rounds
from notifyd.model import EventType, RunState, Status, Watch
from tests.core.logs import NOON, RULES, RUNS, at, fold, row

AGAIN = replace(RUNS, rewatch=timedelta(minutes=60), stuck_after=timedelta(minutes=30))


def failed(minute: float, **values: Any) -> Input:
    return row("7", "failure", minute, **values)


def test_a_failure_that_is_run_again_and_fails_is_told_again() -> None:
    told = fold(failed(0), row("7", "running", 5), failed(10), origin=AGAIN)
    assert told.types == ["sync_error", "sync_error"]
    assert len({event.id for event in told.events}) == 2
    assert told.failures_in_a_row() == 2
    assert told.counts == {"read": 2, "failure": 2, "open": 0, "first_errors": 2}


@pytest.mark.parametrize("status", ["failure", "success", "warning", "ignored", "running"])
def test_the_same_state_read_again_counts_nothing(status: str) -> None:
    one = row("7", status, 0)
    once, often = fold(one, origin=AGAIN), fold(*[one._replace(read_at=at(n)) for n in range(50)], origin=AGAIN)
    assert (often.counts, often.events) == (once.counts, once.events)
    assert often.memory == once.memory


def test_a_run_between_two_looks_is_known_by_its_times() -> None:
    """It failed, ran, and failed again, and nobody saw it run."""
    told = fold(failed(0, finished_at=at(0)), failed(9, finished_at=at(8)), origin=AGAIN)
    assert told.types == ["sync_error", "sync_error"]
    assert told.failures_in_a_row() == 2


def test_an_end_that_is_only_written_later_is_no_other_run() -> None:
    assert fold(failed(0), failed(1, finished_at=at(0)), origin=AGAIN).types == ["sync_error"]


def test_it_is_watched_for_so_long_after_its_end() -> None:
    told = fold(row("7", "success", 10), row("8", "failure", 0, read=59), row("9", "failure", 0, read=60), origin=AGAIN)
    assert {key: watch.until for key, watch in told.memory.watched.items()} == {"7": at(70), "8": at(60)}


def test_one_that_was_seen_to_run_ended_when_that_was_seen() -> None:
    told = fold(row("7", "running", 0), row("7", "success", 0, read=300), origin=AGAIN)
    assert told.memory.watched["7"].until == at(360)


def test_a_row_that_ended_before_the_start_is_watched_and_counts_as_nothing() -> None:
    told = fold(Past(row("7", "failure", 0)), origin=AGAIN)
    assert (told.counts, told.events, told.memory.runs, told.memory.streaks) == ({}, [], {}, {})
    assert fold(Past(row("7", "failure", 0)), row("7", "running", 5), failed(9), origin=AGAIN).types == ["sync_error"]


def test_an_ended_row_that_is_deleted_was_read_all_the_same() -> None:
    told = fold(failed(0), Gone("7", at(1)), origin=AGAIN)
    assert told.counts == {"read": 1, "failure": 1, "first_errors": 1}
    assert told.memory.watched == {}


def test_of_those_that_ended_the_newest_are_watched_and_failures_by_themselves() -> None:
    log = [row(n, "success", 0) for n in range(MOST_ENDED + 5)]
    told = fold(row("f", "failure", 0), *log, origin=AGAIN)
    assert list(told.memory.watched) == ["f", *(str(n) for n in range(5, MOST_ENDED + 5))]


def test_of_too_many_that_run_the_oldest_is_given_up_with_a_word() -> None:
    log = [row(n, "running", 0, schedule_id=f"s{n % 7}") for n in range(MOST_OPEN + 1)]
    told = fold(*log, origin=RUNS)
    assert len(told.memory.watched) == len(told.memory.runs) == MOST_OPEN
    assert told.counts == {"read": MOST_OPEN + 1, "open": MOST_OPEN, "set_aside": 1}
    assert told.set_aside == [("0", GIVEN_UP)]
    assert "0" not in told.memory.watched


def test_a_row_that_nobody_ends_gives_way_to_a_queue_sooner() -> None:
    """The oldest of a queue is run next; the oldest of those whose runner was killed never ends."""
    week = 7 * 24 * 60
    killed = [row(n, "running", 0) for n in range(3)]
    queue = [row(f"q{n}", "running", week - 1) for n in range(MOST_SILENT)]
    told = fold(*killed, *queue, row("a", "running", week - 1), row("b", "running", week), origin=RUNS)
    assert len(told.memory.watched) == MOST_SILENT + 4
    assert told.set_aside == [("0", GIVEN_UP)]


def test_a_row_that_takes_the_key_of_one_that_ran_ends_its_run() -> None:
    """SQLite gives a number again; the old run would seem to be stuck for ever."""
    told = fold(row("7", "running", 0), row("7", "success", 5, schedule_id="hourly"), Tick(at(99)), origin=AGAIN)
    assert told.types == []
    assert told.memory.runs == {}
    assert told.counts == {"read": 2, "open": 0, "ignored": 1, "success": 1}


def test_in_a_log_that_began_anew_the_same_key_is_another_row() -> None:
    told = fold(failed(0), origin=AGAIN)
    told.take(detect(told.memory, [failed(0, read=3)], RULES, replace(AGAIN, epoch=1)))
    assert told.types == ["sync_error", "sync_error"]
    assert len({event.id for event in told.events}) == 2


# -- signs of life -------------------------------------------------------------------------------


def beating(read: float, beat: float | None, start: float = 0) -> Input:
    return row("7", "running", start, read=read, heartbeat_at=None if beat is None else at(beat))


def test_a_run_whose_heart_beats_is_not_stuck_however_long_it_runs() -> None:
    beats = [item for n in range(0, 6000, 10) for item in (beating(n, n - 1), Tick(at(n)))]
    assert fold(*beats, origin=AGAIN).types == []


def test_one_whose_heart_stops_is_stuck_though_it_began_lately() -> None:
    told = fold(beating(0, 0), beating(20, 19), beating(40, 19), Tick(at(48)), origin=AGAIN)
    assert told.types == []
    told = fold(beating(0, 0), beating(20, 19), beating(40, 19), Tick(at(49)), origin=AGAIN)
    (event,) = told.of(EventType.STUCK_RUN)
    assert "no sign of life since 2026-11-24 12:19:00 UTC" in event.message
    assert event.details["last_heartbeat"] == "2026-11-24T12:19:00.000000Z"


def test_a_heart_that_beats_again_closes_it_and_may_stop_again() -> None:
    told = fold(beating(0, 0), Tick(at(40)), beating(50, 45), Tick(at(51)), Tick(at(80)), origin=AGAIN)
    assert told.types == ["stuck_run", "recovered", "stuck_run"]
    assert "shows signs of life again" in told.events[1].message
    assert len({event.id for event in told.events}) == 3


def test_the_heartbeat_of_an_earlier_run_says_nothing_of_this_one() -> None:
    told = fold(row("7", "failure", 0), beating(600, 0, start=600), Tick(at(610)), origin=AGAIN)
    assert told.types == ["sync_error"]


def test_a_heartbeat_of_the_future_counts_as_one_of_now() -> None:
    assert fold(beating(0, 10_000), Tick(at(31)), origin=AGAIN).types == ["stuck_run"]


def test_a_beat_is_kept_now_and_then_not_each_time() -> None:
    beats = [beating(n / 60, n / 60) for n in range(3600)]
    kept = [run.beat for run in fold(*beats, origin=AGAIN).memory.runs.values()]
    assert kept == [at(45)]
    assert [run.state for run in fold(*beats, origin=AGAIN).memory.runs.values()] == [RunState.OPEN]


# -- when a row is looked at ---------------------------------------------------------------------


def looks(watch: Watch, minutes: int, rounds: Rounds, *, ended: bool = True) -> int:
    """How often a row is looked at, polled each second for so many minutes."""
    count = 0
    for second in range(minutes * 60):
        now = NOON + timedelta(seconds=second)
        due = rounds.due({"7": watch}, now, ended=ended)
        rounds.looked(due, now)
        count += len(due)
    return count


def test_a_row_is_looked_at_ever_more_rarely() -> None:
    hour = looks(Watch(Status.RUNNING, NOON), 60, Rounds(None, beats=False))
    assert 300 < hour < 600
    days = Watch(Status.RUNNING, NOON - timedelta(days=9))
    assert looks(days, 60, Rounds(None, beats=False)) == 6


def test_it_is_looked_at_when_it_would_be_stuck() -> None:
    rounds, watch = (
        Rounds(timedelta(hours=6), beats=False),
        Watch(Status.RUNNING, NOON - timedelta(days=9), started=NOON),
    )
    rounds.looked(["7"], at(359))
    assert rounds.due({"7": watch}, at(359.5), ended=True) == []
    assert rounds.due({"7": watch}, at(360), ended=True) == ["7"]


def test_a_heart_is_looked_at_often_enough() -> None:
    old = Watch(Status.RUNNING, NOON - timedelta(days=9))
    assert looks(old, 10, Rounds(timedelta(minutes=5), beats=True)) == 20


def test_one_that_has_ended_is_looked_at_until_its_time_is_over_and_where_nothing_else_shows_it() -> None:
    watch = Watch(Status.FAILURE, NOON, until=at(2))
    assert 20 <= looks(watch, 60, Rounds(None, beats=False)) <= 24
    assert looks(watch, 60, Rounds(None, beats=False), ended=False) == 0


def test_so_many_are_looked_at_at_once_and_none_is_forgotten() -> None:
    watched = {str(n): Watch(Status.RUNNING, NOON) for n in range(2 * MOST_AT_ONCE + 1)}
    rounds, seen = Rounds(None, beats=False), set[str]()
    for second in range(3):
        now = NOON + timedelta(seconds=second)
        due = rounds.due(watched, now, ended=True)
        assert len(due) == MOST_AT_ONCE
        rounds.looked(due, now)
        seen |= set(due)
    assert len(seen) == len(watched)
