"""What systemd is told: it restarts a notifyd that is stuck, and none that merely has troubles."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from notifyd.daemon import Patience
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.frozen import frozen, threads
from tests.system.process import Process
from tests.system.site import Site, of_type, until, webhook

PERIOD = 4.0
"""Seconds after which systemd would kill it. A part is stuck after half of that."""

PATIENCE = Patience(lock=0.5, turn=0.5)
"""Shorter than what it has by itself, for that period's sake."""

# A drop-in plugin that does to the daemon what a bug in a channel may do
PLUGIN = """
import asyncio, time
from notifyd.api import Channel, Options, hookimpl

class Bad(Channel[Options]):
    name = "bad"
    Options = Options
    async def send(self, notification, ctx):
        {does}

@hookimpl
def notifyd_channels():
    return [Bad]
"""


@pytest.fixture
def bad(site: Site, jobs: JobLog, sink: HttpSink, request: pytest.FixtureRequest) -> Site:
    """A site whose channel does what the parameter says."""
    plugins = site.folder / "plugins"
    plugins.mkdir()
    (plugins / "bad.py").write_text(PLUGIN.format(does=request.param))
    site.write(
        daemon={"plugins_dir": str(plugins)},
        sources=[jobs.source("jobs")],
        notifications=[{"name": "bad", "notification_type": "bad"}],
    )
    return site


async def test_while_all_is_well_it_is_told_in_time_and_how_things_stand(
    site: Site, jobs: JobLog, sink: HttpSink
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file, watchdog=1.0) as process:
        assert process.told[-1] == {"READY": "1", "STATUS": "1 source, lag 0 s, 0 pending", "WATCHDOG": "1"}
        assert await process.watched(1.0) >= 3
        sink.answer = 503
        jobs.write(jobs.row("error", "no", job=f"job {n}") for n in range(30))
        await process.tells_of("30 pending, 1 endpoint failing")
        jobs.connection.execute("ALTER TABLE jobs RENAME TO gone")
        await process.tells_of("1 source (1 failing), lag ")
        jobs.connection.execute("ALTER TABLE gone RENAME TO jobs")
        await process.tells_of("1 source, lag 0 s")
        process.send(signal.SIGTERM)
        assert (await process.tells_of("stopping"))["STOPPING"] == "1"


async def test_nobody_watches_where_systemd_does_not(site: Site, jobs: JobLog) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[])
    async with Process(site.file, WATCHDOG_USEC="1000000", WATCHDOG_PID="1") as process:
        assert not any("WATCHDOG" in message for message in process.told)


@pytest.mark.parametrize("bad", ["time.sleep(60)"], indirect=True)
async def test_a_stuck_event_loop_is_killed(bad: Site, jobs: JobLog) -> None:
    async with Process(bad.file, watchdog=1.0) as process:
        jobs.add("error", "no")
        await until(lambda: bad.attempts("bad"))
        await process.watched(0.3)
        assert await process.watched(1.0) == 0
        assert await process.end(signal.SIGABRT) == -signal.SIGABRT
    assert "time.sleep(60)" not in process.log.read_text()
    assert 'bad.py", line 9 in send' in process.log.read_text()  # where it stood


@pytest.mark.parametrize(
    "bad", ["[task.cancel() for task in asyncio.all_tasks() if task.get_name() == 'sender']"], indirect=True
)
async def test_a_sender_that_turns_no_more_is_killed(bad: Site, jobs: JobLog) -> None:
    async with Process(bad.file, watchdog=PERIOD, patience=PATIENCE) as process:
        jobs.add("error", "no")
        await process.tells_of("the sender has ended no turn for ")
        assert await process.watched(1.5) == 0
        assert await process.end() == 0


async def test_a_stuck_store_thread_is_killed(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file, watchdog=PERIOD, patience=PATIENCE) as process:
        with frozen(process.pid, "store"):
            await process.tells_of("the store has ended no turn for ")
            assert await process.watched(1.5) == 0
            process.send(signal.SIGKILL)
        await process.ended()
    async with Process(site.file):
        jobs.add("error", "no")
        await sink.wait_for(1)
    assert site.imbalances() == []


async def test_one_stuck_source_is_told_of_and_left_behind(
    site: Site, jobs: JobLog, sink: HttpSink, tmp_path: Path
) -> None:
    with JobLog(tmp_path / "hung.db") as hung:
        hanging = hung.source("hung", timeout="500ms", unreachable_after="1s")
        site.write(
            sources=[jobs.source("jobs", timeout="500ms"), hanging],
            notifications=[webhook("hook", sink.url)],
        )
        async with Process(site.file, watchdog=PERIOD, patience=PATIENCE) as process:
            with ExitStack() as hangs:
                for _ in range(3):  # what is read anew hangs as well
                    before = threads(process.pid)["source-hung"]
                    hangs.enter_context(frozen(process.pid, "source-hung"))
                    while threads(process.pid)["source-hung"] == before:
                        await asyncio.sleep(0.05)
                (told,) = await sink.wait_for(1)
                await process.tells_of("2 sources (1 failing)")
                count = len(threads(process.pid))
                jobs.add("error", "the others go on")
                await sink.wait_for(2)
                assert await process.watched(1.5) > 0
                assert len(threads(process.pid)) == count  # no more than three are left behind
            hung.add("error", "it answers again")
            requests = await sink.wait_for(4)
            await process.tells_of("2 sources, lag 0 s")
    assert told.json()["event_type"] == "source_unreachable"
    assert "no answer within 500ms" in told.json()["message"] or "reads of it hang" in told.json()["message"]
    assert len(of_type("recovered", requests)) == 1
    assert site.imbalances() == []


async def test_where_all_sources_are_stuck_it_is_killed(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(
        sources=[jobs.source("jobs", timeout="500ms", unreachable_after="1s")],
        notifications=[webhook("hook", sink.url)],
    )
    async with Process(site.file, watchdog=PERIOD, patience=PATIENCE) as process:
        with ExitStack() as hangs:
            for _ in range(3):
                before = threads(process.pid)["source-jobs"]
                hangs.enter_context(frozen(process.pid, "source-jobs"))
                while threads(process.pid)["source-jobs"] == before:
                    await asyncio.sleep(0.05)
            await process.tells_of("no source answers, and what reads them hangs")
            await sink.wait_for(1)  # and people are told all the same
            assert await process.watched(1.5) == 0
        await process.tells_of("1 source, lag 0 s")


async def test_a_state_db_that_stays_locked_is_no_reason_to_restart(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file, watchdog=PERIOD, patience=PATIENCE) as process:
        with closing(sqlite3.connect(site.state, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            jobs.add("error", "no")
            await process.tells_of("database is locked", timeout=30)
            assert await process.watched(PERIOD) >= 2  # the status line waits for the state DB, too
            other.execute("ROLLBACK")
        (request,) = await sink.wait_for(1)
        await process.tells_of("1 source, lag 0 s, 0 pending")
    assert request.json()["message"] == "no"
    assert len([line for line in process.lines() if line["level"] == "error" and "locked" in str(line)]) <= 2
    assert site.imbalances() == []
