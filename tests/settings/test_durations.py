"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.settings import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("200ms", timedelta(milliseconds=200)),
        ("1s", timedelta(seconds=1)),
        ("5m", timedelta(minutes=5)),
        ("24h", timedelta(hours=24)),
        ("90d", timedelta(days=90)),
        ("0s", timedelta()),
        ("1h30m", timedelta(minutes=90)),
        ("1d2h3m4s5ms", timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=5)),
    ],
)
def test_reads(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", " ", "1", "s", "-1s", "1.5h", "1 s", "30m1h", "5m5m", "1w", "1S", "１s", "1s\n"])
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["36501d", "99999999999d", "9" * 5000 + "s"])
def test_refuses_what_no_calendar_holds(text: str) -> None:
    with pytest.raises(ValueError, match="is longer than 36500d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("5 minutes", "5m"), ("1 hour", "1h"), ("10 secs", "10s"), ("2 Days", "2d"), ("1h 30min", "1h30m"), ("5M", "5m")],
)
def test_knows_what_was_meant(text: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f'did you mean "{meant}"'):
        parse_duration(text)


@given(st.integers(0, 36_500 * 86_400_000))
def test_what_is_written_reads_back(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize("text", ["200ms", "5m", "24h", "36h", "2d", "2d12h", "90d", "1h30m", "0s"])
def test_writes_what_people_write(text: str) -> None:
    assert format_duration(parse_duration(text)) == text
