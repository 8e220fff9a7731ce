"""What a second costs in which nothing happens: few questions to the state DB, and one wake-up for all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, timedelta

import pytest

from notifyd.clock import since_beat, until_beat
from notifyd.observe.health import SENDER
from notifyd.schedule import Schedule
from notifyd.store.database import Database
from tests.loops.conftest import Running
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, webhook

SECOND = timedelta(seconds=1)


async def test_the_loops_ask_the_state_db_as_little_as_they_can(
    site: Site, jobs: JobLog, running: Running, sink: HttpSink
) -> None:
    site.write(sources=[jobs.source("jobs", poll="100ms")], notifications=[webhook("hook", sink.url)])
    statements: list[str] = []

    def listen(database: Database) -> None:
        database.peewee.connection().set_trace_callback(statements.append)

    async with running() as daemon:
        await daemon.store(listen)
        before = daemon.health.counts()[SENDER, True]
        await asyncio.sleep(2.2)
        turns = daemon.health.counts()[SENDER, True] - before
        asked = Counter(text.split(" FROM ")[0] for text in statements)
        assert turns >= 2  # and each looks once for what is due
        assert sum("AS ordered" in text for text in statements) in range(turns - 1, turns + 2)
        polls = asked["SELECT cursor, epoch"]
        assert polls >= 5  # and each asks once for all that time alone may bring
        assert sum(" streaks s " in text or " runs r " in text for text in statements) in range(polls - 1, polls + 2)


async def test_what_turns_every_so_often_turns_together() -> None:
    async def work() -> None:
        turned.append(len(turned))

    turned: list[int] = []
    schedule = Schedule()
    schedule.start()
    try:
        jobs = []
        for seconds in (1, 2, 5):
            jobs.append(schedule.add(work, seconds * SECOND, UTC, name=f"every {seconds} s"))
            await asyncio.sleep(0.13)
        assert len(turned) >= 3  # each at once
        first, *others = (each.job.next_run_time for each in jobs)
        for other in others:
            apart = (other - first) % SECOND
            assert min(apart, SECOND - apart) < timedelta(milliseconds=5)
    finally:
        await schedule.stop()


@pytest.mark.parametrize("every", [0.3, 1.0, 5.0])
def test_the_next_beat_is_never_further_than_one_beat(every: float) -> None:
    assert 0 < until_beat(every) <= every
    assert since_beat(every) < every
