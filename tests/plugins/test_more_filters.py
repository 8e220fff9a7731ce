"""quiet_hours, throttle and match: what waits, until when, and why."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from notifyd.api import Drop, Filter, FilterContext, Hold, Pass, Severity, Verdict
from notifyd.plugin_host import discover
from tests.sinks.context import an_event

FILTERS = discover(None).filters
BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = {"timezone": "Europe/Berlin", "times": [{"from": "22:00", "until": "07:00"}]}


def built(name: str, options: Any) -> Filter[Any]:
    cls = FILTERS[name].cls
    return cls(TypeAdapter(cls.Options).validate_python(options))


def ask(one: Filter[Any], now: datetime, **fields: Any) -> Verdict:
    return one.decide(dataclasses.replace(an_event(), **fields), FilterContext(now, "ops"))


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


# quiet_hours


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-24 21:59", None),
        ("2026-11-24 22:00", "2026-11-25 07:00"),
        ("2026-11-25 03:00", "2026-11-25 07:00"),
        ("2026-11-25 06:59", "2026-11-25 07:00"),
        ("2026-11-25 07:00", None),
        ("2026-03-28 23:00", "2026-03-29 07:00"),  # a night with 8 hours
        ("2026-10-24 23:00", "2026-10-25 07:00"),  # and one with 10
    ],
)
def test_what_comes_at_night_waits_for_the_morning(now: str, until: str | None):
    verdict = ask(built("quiet_hours", NIGHT), berlin(now))
    if until is None:
        assert verdict == Pass()
    else:
        day = berlin(until).astimezone(BERLIN)
        assert verdict == Hold(berlin(until), f"quiet hours until {day:%a} 07:00 (Europe/Berlin)")


def test_what_is_urgent_passes():
    assert ask(built("quiet_hours", NIGHT), berlin("2026-11-25 03:00"), severity=Severity.CRITICAL) == Pass()
    never = built("quiet_hours", {**NIGHT, "urgent": "error"})
    assert ask(never, berlin("2026-11-25 03:00"), severity=Severity.ERROR) == Pass()
    assert isinstance(ask(never, berlin("2026-11-25 03:00"), severity=Severity.WARNING), Hold)


def test_an_end_that_comes_twice_is_the_second():
    quiet = built("quiet_hours", {"timezone": "Europe/Berlin", "times": [{"from": "00:00", "until": "02:30"}]})
    for fold in (0, 1):
        verdict = ask(quiet, berlin("2026-10-25 02:10", fold))
        assert isinstance(verdict, Hold)
        assert verdict.until == berlin("2026-10-25 02:30", 1)


def test_an_end_that_a_clock_skips_is_the_moment_after():
    quiet = built("quiet_hours", {"timezone": "Europe/Berlin", "times": [{"from": "00:00", "until": "02:30"}]})
    verdict = ask(quiet, berlin("2026-03-29 01:59"))
    assert isinstance(verdict, Hold)
    assert verdict.until == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_quiet_times_that_follow_each_other_are_one():
    weekend = {"from": "00:00", "until": "00:00", "days": ["sat", "sun"]}
    quiet = built("quiet_hours", {"timezone": "Europe/Berlin", "times": [*NIGHT["times"], weekend]})
    verdict = ask(quiet, berlin("2026-11-27 23:00"))  # Friday night, to Monday morning
    assert isinstance(verdict, Hold)
    assert verdict.until == berlin("2026-11-30 07:00")


def test_a_week_that_is_all_quiet_lets_something_through_in_the_end():
    always = built("quiet_hours", {"times": [{"from": "00:00", "until": "00:00"}]})
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    verdict = ask(always, now)
    assert isinstance(verdict, Hold)
    assert now < verdict.until <= now + timedelta(days=15)


CLOCKS = st.times().map(lambda t: f"{t.hour:02}:{t.minute:02}")


@given(
    now=st.integers(0, 2 * 365 * 24 * 60).map(
        lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    ),
    begins=CLOCKS,
    ends=CLOCKS,
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_a_hold_ends_in_the_future_within_a_day_or_two_and_then_passes(
    now: datetime, begins: str, ends: str, zone: str
):
    if begins == ends:
        return
    quiet = built("quiet_hours", {"timezone": zone, "times": [{"from": begins, "until": ends}]})
    verdict = ask(quiet, now)
    if isinstance(verdict, Hold):
        assert now < verdict.until <= now + timedelta(hours=26)
        assert ask(quiet, verdict.until) == Pass()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"times": []}, "times"),
        ({"times": [{"from": "25:00", "until": "07:00"}]}, "from"),
        ({"times": [{"from": "22:00", "until": "24:00"}]}, 'midnight is "00:00"'),
        ({"timezone": "Mars/Base", "times": [{"from": "22:00", "until": "07:00"}]}, "no time zone"),
        ({"timezone": "../../etc/passwd", "times": [{"from": "22:00", "until": "07:00"}]}, "no time zone"),
        ({"times": [{"from": "22:00", "until": "07:00", "days": ["someday"]}]}, "days"),
    ],
)
def test_quiet_hours_that_make_no_sense_are_refused(options: Any, problem: str):
    with pytest.raises(ValidationError, match=problem):
        built("quiet_hours", options)


# throttle


NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_what_is_more_than_a_number_waits_until_the_oldest_is_old():
    throttle = built("throttle", {"most": 2, "per": "10m"})
    assert [ask(throttle, NOW + timedelta(minutes=m)) for m in (0, 3)] == [Pass(), Pass()]
    assert ask(throttle, NOW + timedelta(minutes=5)) == Hold(NOW + timedelta(minutes=10), "more than 2 in 10m")
    assert ask(throttle, NOW + timedelta(minutes=10)) == Pass()
    assert isinstance(ask(throttle, NOW + timedelta(minutes=11)), Hold)


def test_kinds_are_counted_apart_where_it_says_so():
    throttle = built("throttle", {"most": 1, "per": "1h", "by": ["connector_id"]})
    assert ask(throttle, NOW, connector_id="a") == Pass()
    assert isinstance(ask(throttle, NOW, connector_id="a"), Hold)
    assert ask(throttle, NOW, connector_id="b") == Pass()


def test_what_is_urgent_is_neither_held_nor_counted():
    throttle = built("throttle", {"most": 1, "per": "1h"})
    assert ask(throttle, NOW, severity=Severity.CRITICAL) == Pass()
    assert ask(throttle, NOW) == Pass()
    assert ask(throttle, NOW, severity=Severity.CRITICAL) == Pass()


@given(
    st.lists(st.integers(-5_000, 5_000).map(lambda s: timedelta(seconds=s)), min_size=1, max_size=60),
    st.integers(1, 5),
)
def test_never_more_than_that_and_never_held_for_longer_than_a_period(steps: list[timedelta], most: int):
    throttle = built("throttle", {"most": most, "per": "10m"})
    now, passed = NOW, []
    for step in steps:
        now += step
        verdict = ask(throttle, now)
        if isinstance(verdict, Hold):
            assert verdict.until <= now + timedelta(minutes=10)
        else:
            passed.append(now)
    if all(step >= timedelta(0) for step in steps):
        for at in passed:
            assert sum(at <= other < at + timedelta(minutes=10) for other in passed) <= most


def test_its_memory_is_bounded():
    throttle = built("throttle", {"most": 1, "per": "1h", "by": ["schedule_id"]})
    for number in range(10_500):
        ask(throttle, NOW, schedule_id=str(number))
    assert len(throttle._passed) == 10_000  # type: ignore[attr-defined]


# match


@pytest.mark.parametrize(
    ("options", "fields", "passes"),
    [
        ({"only": {"message": "timed? ?out"}}, {"message": "Timed out"}, True),
        ({"only": {"message": "timed? ?out"}}, {"message": "refused"}, False),
        ({"only": {"message": "^a", "title": "b$"}}, {"message": "a", "title": "b"}, True),
        ({"only": {"message": "^a", "title": "b$"}}, {"message": "a", "title": "c"}, False),
        ({"never": {"details.order": r"^TEST-\d+$"}}, {"details": {"order": "TEST-1"}}, False),
        ({"never": {"details.order": r"^TEST-\d+$"}}, {"details": {"order": "1"}}, True),
        ({"never": {"details.order": "x"}}, {"details": {}}, True),
        ({"only": {"details.order": "x"}}, {"details": {}}, False),
        ({"only": {"connector_id": "^quick"}}, {"connector_id": None}, False),
        ({"only": {"event_type": "^sync_error$", "severity": "error"}}, {}, True),
    ],
)
def test_patterns_are_found_or_not(options: Any, fields: Any, passes: bool):
    verdict = ask(built("match", options), NOW, **fields)
    assert isinstance(verdict, Pass if passes else Drop)
    if isinstance(verdict, Drop):
        assert any(key in verdict.reason for key in ("only", "never"))


def test_a_pattern_that_takes_for_ever_is_stopped():
    with pytest.raises(TimeoutError):
        ask(built("match", {"only": {"message": "(a|aa)+$"}}), NOW, message="a" * 60 + "!")


def test_a_pattern_that_would_take_all_the_memory_is_refused_and_so_are_many():
    with pytest.raises(ValidationError, match=r"only\.message\n.*is too large: with its counts written out"):
        built("match", {"only": {"message": "(a{400}){400}"}})
    with pytest.raises(ValidationError, match="at most 20 items"):
        built("match", {"never": {f"details.{number}": "a{9000}" for number in range(21)}})


@pytest.mark.parametrize(
    "options", [{}, {"only": {"message": "("}}, {"only": {"mesage": "x"}}, {"only": {"message": ""}}]
)
def test_matches_that_make_no_sense_are_refused(options: Any):
    with pytest.raises(ValidationError):
        built("match", options)


@pytest.mark.parametrize(("per", "minutes"), [("90s", 1.5), ("10m", 10), ("1h30m", 90), ("1d12h", 36 * 60)])
def test_a_throttle_s_time_is_any_duration(per: str, minutes: float):
    throttle = built("throttle", {"most": 1, "per": per})
    assert ask(throttle, NOW) == Pass()
    assert ask(throttle, NOW + timedelta(seconds=1)) == Hold(NOW + timedelta(minutes=minutes), f"more than 1 in {per}")


@pytest.mark.parametrize("per", ["", "30", "0s", "0m", "m", "-5m", "1m1h", "1000000000d"])
def test_a_throttle_s_time_that_is_none_is_refused(per: str):
    with pytest.raises(ValidationError, match="is not a duration such as"):
        built("throttle", {"most": 1, "per": per})
