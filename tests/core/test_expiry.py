"""A schedule that never runs again is forgotten, and what was announced of it is closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from notifyd.model import EventType
from tests.core.logs import RUNS, fold, row, tick

FORGETFUL = replace(RUNS, forget_after=timedelta(minutes=60))
FAILURES = [row(n, "failure", n) for n in range(3)]


def test_failures_of_long_ago_count_no_more() -> None:
    told = fold(*FAILURES[:2], tick(61), row(9, "failure", 62), origin=FORGETFUL)
    assert told.of(EventType.CONSECUTIVE_FAILURES) == []
    assert fold(*FAILURES[:2], tick(60), row(9, "failure", 62), origin=FORGETFUL).failures_in_a_row() == 3


def test_an_announced_streak_is_closed_once_and_the_next_is_another() -> None:
    told = fold(*FAILURES, tick(62), tick(63), tick(600), origin=FORGETFUL)
    closing = told.events[-1]
    assert told.types == ["sync_error"] * 3 + ["consecutive_failures", "recovered"]
    assert closing.closes is not None
    assert closing.closes.id == told.events[-2].id
    assert "has not run since 2026-11-24 12:02:00 UTC" in closing.message
    later = [row(n, "failure", n) for n in range(700, 703)]
    again = fold(*FAILURES, tick(62), *later, origin=FORGETFUL).of(EventType.CONSECUTIVE_FAILURES)
    assert len({event.id for event in again}) == 2


def test_one_that_runs_is_not_forgotten() -> None:
    told = fold(*FAILURES, row(9, "running", 10), tick(6000), origin=FORGETFUL)
    assert told.of(EventType.RECOVERED) == []


def test_without_a_time_nothing_is_forgotten() -> None:
    assert fold(*FAILURES, tick(10**6), origin=RUNS).of(EventType.RECOVERED) == []
