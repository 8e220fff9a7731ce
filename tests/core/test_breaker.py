"""The circuit breaker: when it opens, what it lets through, and that it never stays open for long without a probe."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from notifyd.core.breaker import (
    FAILED,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MINIMUM,
    REFUSALS,
    REFUSED,
    REMEMBERED,
    SENT,
    SHARE,
    Breaker,
    Standing,
)
from tests.core.logs import LAW, NOON

lives = st.lists(
    st.tuples(st.sampled_from([SENT, FAILED, REFUSED]), st.integers(0, 90), st.integers(0, 30)), max_size=60
)
"""Attempts: how each ended, the seconds since the one before it ended, and how long it took."""


def lived(life: list[tuple[str, int, int]]) -> tuple[Breaker, timedelta]:
    """The breaker after these attempts, and the time since noon."""
    breaker, now = Breaker(), NOON
    for outcome, since, took in life:
        now += timedelta(seconds=since)
        breaker = breaker.after(outcome, now - timedelta(seconds=took), now)
    return breaker, now - NOON


@LAW
@given(lives)
def test_whatever_is_sent_closes_it(life: list[tuple[str, int, int]]) -> None:
    breaker, passed = lived(life)
    now = NOON + passed
    after = breaker.after(SENT, now, now)
    assert after.standing(now) is Standing.CLOSED
    assert (after.opened_at, after.probe_at, after.probes) == (None, None, 0)


@LAW
@given(lives)
def test_it_opens_only_when_enough_is_known_and_enough_of_it_failed(life: list[tuple[str, int, int]]) -> None:
    breaker, passed = lived(life)
    assert len(breaker.outcomes) <= REMEMBERED
    if breaker.standing(NOON + passed) is not Standing.CLOSED:
        assert mostly_failed(breaker) or breaker.outcomes.endswith(REFUSED * REFUSALS)
    elif not breaker.outcomes.endswith(SENT):
        assert not mostly_failed(breaker)
        assert not breaker.outcomes.endswith(REFUSED * REFUSALS)


def mostly_failed(breaker: Breaker) -> bool:
    known = len(breaker.outcomes)
    return known >= MINIMUM and known - breaker.outcomes.count(SENT) >= known * SHARE


@LAW
@given(lives)
def test_an_open_one_is_never_long_without_a_probe(life: list[tuple[str, int, int]]) -> None:
    """However often it failed, an endpoint that works again is found within the longest pause."""
    breaker, passed = lived(life)
    if breaker.probe_at is not None:
        assert breaker.opened_at is not None
        assert breaker.probe_at <= NOON + passed + LONGEST_PAUSE
        assert breaker.standing(breaker.probe_at) is Standing.HALF_OPEN


@LAW
@given(lives)
def test_what_was_under_way_when_it_opened_is_no_probe(life: list[tuple[str, int, int]]) -> None:
    breaker, passed = lived(life)
    if breaker.probe_at is not None:
        early = breaker.probe_at - timedelta(microseconds=1)
        assert breaker.after(FAILED, early, NOON + passed + timedelta(hours=1)) == breaker


def test_one_bad_message_is_no_failing_channel() -> None:
    breaker = Breaker("sss").after(FAILED, NOON, NOON).after(FAILED, NOON, NOON)
    assert breaker.standing(NOON) is Standing.CLOSED
    assert breaker.after(FAILED, NOON, NOON).standing(NOON) is Standing.OPEN  # half of all failed


def test_a_target_that_refuses_for_good_counts_sooner() -> None:
    """Whatever went well before: each further attempt is a delivery that is given up."""
    breaker = Breaker(SENT * REMEMBERED).after(REFUSED, NOON, NOON)
    assert breaker.standing(NOON) is Standing.CLOSED
    assert breaker.after(FAILED, NOON, NOON).standing(NOON) is Standing.CLOSED
    assert breaker.after(REFUSED, NOON, NOON).standing(NOON) is Standing.OPEN


def test_the_pauses_grow() -> None:
    breaker, now = Breaker(), NOON
    for _ in range(MINIMUM):
        breaker = breaker.after(FAILED, now, now)
    pauses = []
    for _ in range(7):
        assert breaker.probe_at is not None
        pauses.append((breaker.probe_at - now).total_seconds())
        now = breaker.probe_at
        breaker = breaker.after(FAILED, now, now)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert FIRST_PAUSE.total_seconds() == pauses[0]
    assert breaker.opened_at == NOON
