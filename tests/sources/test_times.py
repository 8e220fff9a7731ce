"""Every way in which a log writes a time down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.sources.times import time_reader

MOMENT = datetime(2026, 11, 24, 21, 0, 1, 250_000, tzinfo=UTC)
WHOLE = MOMENT.replace(microsecond=0)
SECONDS = 1795554001
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

read = time_reader(ZoneInfo("UTC"))


@pytest.mark.parametrize(
    ("raw", "moment"),
    [
        ("2026-11-24T21:00:01.25+00:00", MOMENT),
        ("2026-11-24T21:00:01.250000Z", MOMENT),
        ("2026-11-24T21:00:01.250000789+00:00", MOMENT),
        ("2026-11-24T14:00:01.250-07:00", MOMENT),
        ("2026-11-24 21:00:01.25", MOMENT),
        ("2026-11-24 21:00:01", WHOLE),
        ("2026-11-24T21:00:01", WHOLE),
        ("2026-11-24 21:00:01 +0000", WHOLE),
        ("2026-11-24 21:00:01 UTC", WHOLE),
        ("2026-11-24 21:00:01 gmt", WHOLE),
        ("2026-11-24t21:00:01z", WHOLE),
        ("  2026-11-24 21:00:01\n", WHOLE),
        (b"2026-11-24 21:00:01", WHOLE),
        ("2026-11-24", datetime(2026, 11, 24, tzinfo=UTC)),
        (SECONDS, WHOLE),
        (SECONDS + 0.25, MOMENT),
        (SECONDS * 1_000 + 250, MOMENT),
        (SECONDS * 1_000_000 + 250_000, MOMENT),
        (SECONDS * 1_000_000_000 + 250_000_789, MOMENT),
        (str(SECONDS), WHOLE),
        (f"{SECONDS}.25", MOMENT),
        (f"{SECONDS}250", MOMENT),
        ("2099-01-01T00:00:00Z", datetime(2099, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_whatever_form(raw: object, moment: datetime) -> None:
    assert read(raw) == moment


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "",
        " ",
        "0000-00-00 00:00:00",
        "0000-00-00",
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "1969-12-31 17:00:00-07:00",
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+12:00",
        0,
        -1,
        0.0,
        True,
        float("nan"),
        float("inf"),
        10**30,
        "yesterday",
        "2026-13-45",
        "utc",
        "x" * 1_000_000,
        b"\xff\xfe",
        [],
        {},
    ],
)
def test_what_is_no_time_is_unset(raw: object) -> None:
    assert read(raw) is None


@pytest.mark.parametrize(
    ("raw", "utc"),
    [
        ("2026-11-24 14:00:00", "2026-11-24T21:00:00+00:00"),
        ("2026-07-24 14:00:00", "2026-07-24T20:00:00+00:00"),
        ("2026-11-24", "2026-11-24T07:00:00+00:00"),
        ("2026-11-24 21:00:00Z", "2026-11-24T21:00:00+00:00"),
        ("2026-11-24 23:00:00+02:00", "2026-11-24T21:00:00+00:00"),
    ],
)
def test_a_time_without_a_zone_is_local_to_the_source(raw: str, utc: str) -> None:
    assert time_reader(ZoneInfo("America/Edmonton"))(raw) == datetime.fromisoformat(utc)


moments = st.integers(86400 * 10**6 * 366, 7 * 10**15).map(
    lambda us: EPOCH + timedelta(microseconds=us)
)  # 1971 to 2191


@given(moments, st.integers(-14 * 60, 14 * 60), st.sampled_from("T "))
def test_every_way_to_write_a_moment_reads_as_that_moment(moment: datetime, offset: int, separator: str) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(minutes=offset)))
    since = moment - EPOCH
    assert read(elsewhere.isoformat(separator)) == moment
    assert read(moment.replace(tzinfo=None).isoformat(separator)) == moment
    assert read(since // timedelta(seconds=1)) == moment.replace(microsecond=0)
    if since > timedelta(days=10_000):  # 10**11 ms and more: smaller ones would be seconds
        assert read(since // timedelta(milliseconds=1)) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        assert read(since // timedelta(microseconds=1)) == moment


@given(st.one_of(st.text(), st.binary(), st.integers(), st.floats(), st.none(), st.booleans()))
def test_nothing_makes_it_raise(raw: object) -> None:
    moment = read(raw)
    assert moment is None or moment.tzinfo is UTC
