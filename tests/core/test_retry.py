"""When a failed delivery is tried again."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from notifyd.core.retry import DAY, JITTER, WAITS, next_attempt
from tests.core.logs import LAW, NOON

attempts = st.integers(1, len(WAITS) + 20)
ages = st.timedeltas(timedelta(0), DAY)
plans = st.timedeltas(timedelta(0), timedelta(days=30))
jitters = st.floats(0, 1, exclude_max=True)
wishes = st.none() | st.floats(0, 1e12) | st.just(float("inf"))


@LAW
@given(attempts, ages, jitters, wishes, plans)
def test_the_next_attempt_is_bounded(
    attempt: int, age: timedelta, jitter: float, after: float | None, lasts: timedelta
) -> None:
    """Never before its wait, never before Retry-After, never beyond the plan."""
    now = NOON + age
    due = next_attempt(attempt, NOON, now, jitter, after, lasts)
    if due is None:
        return
    wait = WAITS[min(attempt, len(WAITS)) - 1]
    assert due - now >= wait
    assert after is None or due - now >= timedelta(seconds=after)
    assert due <= NOON + lasts
    assert due - now <= max(wait * (1 + JITTER), timedelta(seconds=after or 0))


@LAW
@given(attempts, ages, jitters, wishes, plans)
def test_what_is_dead_stays_dead(
    attempt: int, age: timedelta, jitter: float, after: float | None, lasts: timedelta
) -> None:
    """Neither a later attempt nor a longer wish brings it back; and nothing outlives the plan."""
    if next_attempt(attempt, NOON, NOON + age, jitter, after, lasts) is None:
        assert next_attempt(attempt + 1, NOON, NOON + age, jitter, after, lasts) is None
    assert next_attempt(attempt, NOON, NOON + lasts, jitter, after, lasts) is None


@LAW
@given(st.lists(st.tuples(jitters, st.none() | st.floats(0, 7200)), min_size=40, max_size=40))
def test_nothing_is_tried_for_ever(answers: list[tuple[float, float | None]]) -> None:
    attempts, now = 0, NOON
    due: datetime | None = now
    for jitter, after in answers:
        if due is None:
            break
        attempts, now = attempts + 1, due
        due = next_attempt(attempts, NOON, now, jitter, after)
    assert due is None
    assert attempts <= 30
    assert now <= NOON + DAY


def test_the_plan() -> None:
    """About a day: soon at first, then every hour."""
    waits = []
    now, attempt = NOON, 1
    while due := next_attempt(attempt, NOON, now, jitter=0):
        waits.append((due - now).total_seconds())
        now, attempt = due, attempt + 1
    assert waits == [2, 5, 15, 60, 300, 900, *[3600] * 23]
    assert timedelta(hours=23) < now - NOON < timedelta(hours=24)


def test_a_plan_of_a_config_s_own() -> None:
    assert next_attempt(1, NOON, NOON, 0, lasts=timedelta(0)) is None
    assert next_attempt(4, NOON, NOON + timedelta(seconds=22), 0, lasts=timedelta(minutes=2)) is not None
    assert next_attempt(5, NOON, NOON + timedelta(seconds=82), 0, lasts=timedelta(minutes=2)) is None


def test_the_receiver_s_wish_is_honoured_within_the_plan() -> None:
    assert next_attempt(1, NOON, NOON, 0, after=120) == NOON + timedelta(seconds=120)
    assert next_attempt(1, NOON, NOON, 0, after=0.5) == NOON + timedelta(seconds=2)
    assert next_attempt(1, NOON, NOON, 0, after=48 * 3600) is None
