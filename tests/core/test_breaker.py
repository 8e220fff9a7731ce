"""The circuit breaker: when it opens, what it lets through, and that it never stays open for long without a probe."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from notifyd.core.breaker import FIRST_PAUSE, LONGEST_PAUSE, MINIMUM, REMEMBERED, SHARE, Breaker, Standing
from tests.core.logs import LAW, NOON

lives = st.lists(st.tuples(st.booleans(), st.integers(0, 90), st.integers(0, 30)), max_size=60)
"""Attempts: whether it was sent, the seconds since the one before it ended, and how long it took."""


def lived(life: list[tuple[bool, int, int]]) -> tuple[Breaker, timedelta]:
    """The breaker after these attempts, and the time since noon."""
    breaker, now = Breaker(), NOON
    for sent, since, took in life:
        now += timedelta(seconds=since)
        breaker = breaker.after(sent, now - timedelta(seconds=took), now)
    return breaker, now - NOON


@LAW
@given(lives)
def test_whatever_is_sent_closes_it(life: list[tuple[bool, int, int]]) -> None:
    breaker, passed = lived(life)
    now = NOON + passed
    after = breaker.after(True, now, now)
    assert after.standing(now) is Standing.CLOSED
    assert (after.opened_at, after.probe_at, after.probes) == (None, None, 0)


@LAW
@given(lives)
def test_it_opens_only_when_enough_is_known_and_enough_of_it_failed(life: list[tuple[bool, int, int]]) -> None:
    breaker, passed = lived(life)
    assert len(breaker.outcomes) <= REMEMBERED
    if breaker.standing(NOON + passed) is not Standing.CLOSED:
        assert len(breaker.outcomes) >= MINIMUM
        assert breaker.outcomes.count("f") >= len(breaker.outcomes) * SHARE
    else:
        known = len(breaker.outcomes)
        assert known < MINIMUM or breaker.outcomes.count("f") < known * SHARE or breaker.outcomes.endswith("s")


@LAW
@given(lives)
def test_an_open_one_is_never_long_without_a_probe(life: list[tuple[bool, int, int]]) -> None:
    """However often it failed, an endpoint that works again is found within the longest pause."""
    breaker, passed = lived(life)
    if breaker.probe_at is not None:
        assert breaker.opened_at is not None
        assert breaker.probe_at <= NOON + passed + LONGEST_PAUSE
        assert breaker.standing(breaker.probe_at) is Standing.HALF_OPEN


@LAW
@given(lives)
def test_what_was_under_way_when_it_opened_is_no_probe(life: list[tuple[bool, int, int]]) -> None:
    breaker, passed = lived(life)
    if breaker.probe_at is not None:
        early = breaker.probe_at - timedelta(microseconds=1)
        assert breaker.after(False, early, NOON + passed + timedelta(hours=1)) == breaker


def test_one_bad_message_is_no_failing_channel() -> None:
    breaker = Breaker("sss").after(False, NOON, NOON).after(False, NOON, NOON)
    assert breaker.standing(NOON) is Standing.CLOSED
    assert breaker.after(False, NOON, NOON).standing(NOON) is Standing.OPEN  # half of all failed


def test_the_pauses_grow() -> None:
    breaker, now = Breaker(), NOON
    for _ in range(MINIMUM):
        breaker = breaker.after(False, now, now)
    pauses = []
    for _ in range(7):
        assert breaker.probe_at is not None
        pauses.append((breaker.probe_at - now).total_seconds())
        now = breaker.probe_at
        breaker = breaker.after(False, now, now)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert FIRST_PAUSE.total_seconds() == pauses[0]
    assert breaker.opened_at == NOON
