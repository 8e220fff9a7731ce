"""Cron expressions mean what cron means by them, and nothing is half understood."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from notifyd.settings import Cron

SUNDAY = datetime(2026, 11, 22, tzinfo=UTC)


def fires(expression: str, count: int, timezone: str = "UTC") -> list[datetime]:
    """The first times from that Sunday on."""
    trigger = Cron(expression).trigger(ZoneInfo(timezone))
    times: list[datetime] = []
    now = SUNDAY
    for _ in range(count):
        now = trigger.get_next_fire_time(None, now).astimezone(UTC)
        times.append(now)
        now += timedelta(microseconds=1)
    return times


def test_five_fields_begin_with_minutes() -> None:
    assert fires("*/15 * * * *", 2) == [SUNDAY, SUNDAY + timedelta(minutes=15)]


def test_six_fields_begin_with_seconds() -> None:
    assert fires("*/20 * * * * *", 3) == [SUNDAY + timedelta(seconds=second) for second in (0, 20, 40)]


def test_names_and_the_last_day() -> None:
    assert fires("0 9 last feb *", 1) == [datetime(2027, 2, 28, 9, tzinfo=UTC)]


def test_the_timezone_decides() -> None:
    assert fires("0 9 * * *", 1, "America/Edmonton") == [SUNDAY + timedelta(hours=16)]


@pytest.mark.parametrize(
    ("weekdays", "days"),
    [
        ("0", "Sun"),
        ("7", "Sun"),
        ("1", "Mon"),
        ("1-5", "Mon Tue Wed Thu Fri"),
        ("5-7", "Sun Fri Sat"),
        ("0-6", "Sun Mon Tue Wed Thu Fri Sat"),
        ("mon-wed", "Mon Tue Wed"),
        ("sun-tue", "Sun Mon Tue"),
        ("fri-sun", "Sun Fri Sat"),
        ("sat,1", "Mon Sat"),
        ("*/2", "Sun Tue Thu Sat"),
        ("1-5/2", "Mon Wed Fri"),
        ("4/2", "Thu Sat"),
        ("MON", "Mon"),
    ],
)
def test_weekdays_are_crons_and_not_apschedulers(weekdays: str, days: str) -> None:
    wanted = days.split()
    assert [time.strftime("%a") for time in fires(f"0 0 * * {weekdays}", len(wanted))] == wanted


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("", "has 0 fields"),
        ("* * *", "has 3 fields"),
        ("* * * * * * *", "has 7 fields"),
        ("@daily", "has 1 fields"),
        ("60 * * * *", "higher than the maximum value"),
        ("* 25 * * *", "higher than the maximum value"),
        ("* * 0 * *", "lower than the minimum value"),
        ("x * * * *", '"x" is no minute'),
        ("5-1 * * * *", "must not be higher"),
        ("*/0 * * * *", "Increment"),
        ("* * * foo *", 'Invalid month name "foo"'),
        ("* * * last *", '"last" is no month'),
        ("* * * * mon#1", '"mon#1" is no weekday'),  # APScheduler would read it as every Monday
        ("* * * * mon-fri/2x", "is no weekday"),
        ("* * * * foo", "is no weekday"),
        ("* * * * 8", "weekdays run forwards from 0"),
        ("* * * * fri-mon", "weekdays run forwards from 0"),
        ("0 0 30 feb *", "a moment that never comes"),
    ],
)
def test_refuses(expression: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Cron(expression)


def test_a_leap_day_is_worth_waiting_for() -> None:
    assert fires("0 0 29 2 *", 1) == [datetime(2028, 2, 29, tzinfo=UTC)]
