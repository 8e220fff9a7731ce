"""The wall clock is set while notifyd runs, and summer time comes and goes: polling goes on at once.

APScheduler keeps time by the wall clock: a job that was due at 12:00:01 is due in an hour and a second after the
clock was set back to 11:00. libfaketime sets the clock of one process; the monotonic one goes on, as in a kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from notifyd.settings.cron import Cron
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.process import Process
from tests.system.site import Site, webhook

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobLog]:
    with JobLog(tmp_path / "jobs.db") as log:
        yield log


@pytest.fixture
def wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says how far off the clock of the next process is: "+0", "+1h", "-1h"."""
    file = tmp_path / "wall"
    file.write_text("+0")
    monkeypatch.setenv("LD_PRELOAD", str(FAKETIME))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(file))
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")  # else the jump is seen a second or more after it was made
    return file


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not here (Debian: libfaketime)")
@pytest.mark.parametrize(("jump", "hours"), [("+1h", 1), ("-1h", -1)])
async def test_polling_and_sending_go_on_at_once(site: Site, jobs: JobLog, wall: Path, jump: str, hours: int) -> None:
    async with HttpSink() as sink:
        site.write(sources=[jobs.source("jobs", poll="1s")], notifications=[webhook("hook", sink.url)])
        async with Process(site.file) as process:
            jobs.add("error", "before", job="a")
            await sink.wait_for(1)
            wall.write_text(jump)
            jobs.add("error", "after", job="b")
            await sink.wait_for(2, timeout=20)
            jobs.add("error", "later", job="c")
            await sink.wait_for(3, timeout=20)
            assert process.lines("stuck") == []
    (first,), *_, (last,) = site.query("SELECT found_at FROM events ORDER BY seq")
    moved = datetime.fromisoformat(last) - datetime.fromisoformat(first)
    assert abs(moved - timedelta(hours=hours)) < timedelta(minutes=2)
    assert site.states("hook") == ["sent"] * 3
    assert site.imbalances() == []


# -- summer time -------------------------------------------------------------------------------------

SPRING, AUTUMN = datetime(2026, 3, 28, 23, 30, tzinfo=UTC), datetime(2026, 10, 24, 22, 30, tzinfo=UTC)
"""Half past midnight in Berlin; at 01:00 UTC the clocks go from 2 to 3, and from 3 to 2."""


def fires(expression: str, start: datetime, times: int) -> list[datetime]:
    """When APScheduler would fire, in UTC."""
    trigger, found, now = Cron(expression).trigger(BERLIN), [], start
    before = None
    for _ in range(times):
        before = trigger.get_next_fire_time(before, now)
        assert before is not None
        found.append(before.astimezone(UTC))
        now = max(now, found[-1] + timedelta(microseconds=1))
    return found


@pytest.mark.parametrize("night", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_an_hourly_poll_comes_each_hour_in_the_nights_of_the_change(night: datetime) -> None:
    first = night + timedelta(minutes=30)
    assert fires("0 * * * *", night, 5) == [first + timedelta(hours=hour) for hour in range(5)]


def test_a_daily_poll_at_an_hour_that_is_not_there_is_not_left_out_for_long() -> None:
    """In spring there is no half past two; the next night has one again, and nothing is skipped in the log."""
    assert fires("30 2 * * *", SPRING, 2)[1] - SPRING < timedelta(hours=49)


def test_an_hour_that_is_there_twice_polls_twice_at_the_most() -> None:
    first, second, third = fires("30 2 * * *", AUTUMN, 3)
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert third - first > timedelta(hours=24)
    assert second > first
