"""Jobs that fail are said once; and when the wall clock is set back, what began by the clock before ends first."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, timedelta

from structlog.testing import capture_logs

from notifyd.errors import NotifydError
from notifyd.schedule import Schedule, Turns


async def test_a_job_that_cannot_be_done_is_said_once() -> None:
    errors = ["locked", "locked", "full", "full", "", "", "locked"]

    async def work() -> None:
        if error := errors.pop(0):
            raise NotifydError(error)

    turns = Turns(work, "leases")
    with capture_logs() as lines:
        while errors:
            await turns.take()
    assert [(line["job"], line.get("error", "done again")) for line in lines] == [
        ("leases", "locked"),
        ("leases", "full"),
        ("leases", "done again"),
        ("leases", "locked"),
    ]


async def test_what_is_at_work_when_the_clock_is_set_back_ends_before_it_is_told() -> None:
    said: list[str] = []
    told = asyncio.Event()
    ahead = 0.0

    async def poll() -> None:
        if not said:
            said.append("poll begins")
            await asyncio.sleep(2.5)  # two looks at the clock
            said.append("poll ends")

    async def set_back(by: timedelta) -> None:
        said.append(f"set back by {by.total_seconds() / 3600:.1f} h")
        told.set()

    schedule = Schedule(set_back, wall=lambda: time.time() + ahead)
    schedule.add(poll, timedelta(seconds=1), UTC, name="poll")
    schedule.start()
    try:
        await asyncio.sleep(0.1)
        ahead = -3600.0
        await asyncio.wait_for(told.wait(), 20)
    finally:
        await schedule.stop()
    assert said == ["poll begins", "poll ends", "set back by 1.0 h"]
