"""What a poller keeps of the watched rows between its polls is what the state DB holds."""

from __future__ import annotations

import pytest

from notifyd.core.watching import MOST_OPEN
from notifyd.daemon import Daemon
from notifyd.store import cursors, memory
from notifyd.store.database import Database
from tests.loops.conftest import Clock, Running, Said
from tests.sinks.log import JobLog
from tests.system.site import Site, until, webhook

KEPT = "the watched rows of the poller and of the state DB"


async def _the_same(daemon: Daemon) -> int:
    """Poll, and compare. How many rows are watched."""
    (poller,) = daemon.pollers
    await daemon.poll(poller)
    assert poller.kept is not None
    assert dict(poller.kept.watched) == await daemon.store(memory.watched, poller.settings.id), KEPT
    assert list(poller.kept.watched) == list(await daemon.store(memory.watched, poller.settings.id)), KEPT
    return len(poller.kept.watched)


async def test_rows_that_run_end_and_are_forgotten(site: Site, jobs: JobLog, running: Running, clock: Clock) -> None:
    source = {**jobs.source("jobs", start="beginning", rewatch="10m"), "poll": "24h"}
    site.write(sources=[source], notifications=[webhook("hook", "http://127.0.0.1:9")])
    jobs.add("running")
    async with running() as daemon:
        await daemon.ready()
        jobs.add("error", "no")
        assert await _the_same(daemon) == 2
        jobs.connection.execute("UPDATE jobs SET status = 'ok'")
        jobs.write(jobs.row("ok", None) for _ in range(1_500))
        clock.forward(daemon, minutes=1)
        assert await _the_same(daemon) == 1_000
        clock.forward(daemon, minutes=11)
        jobs.add("running")
        assert await _the_same(daemon) == 1


async def test_a_cursor_that_was_moved_has_them_read_anew(site: Site, jobs: JobLog, running: Running) -> None:
    site.write(sources=[{**jobs.source("jobs", start="beginning"), "poll": "24h"}], notifications=[])
    jobs.add("running")
    async with running() as daemon:
        await daemon.ready()
        assert await _the_same(daemon) == 1
        (poller,) = daemon.pollers
        assert poller.kept is not None
        await daemon.store(_forget)
        _, known = await daemon.store(cursors.glance, "jobs", daemon.clock(), poller.origin, poller.kept)
        assert len(known.watched) == 1  # nobody has moved it
        await daemon.store(_rewind)
        _, known = await daemon.store(cursors.glance, "jobs", daemon.clock(), poller.origin, poller.kept)
        assert len(known.watched) == 0


def _forget(db: Database) -> None:
    db.run("DELETE FROM watched")


def _rewind(db: Database) -> None:
    db.run("UPDATE cursors SET cursor = cursor || ' '")


@pytest.mark.slow
async def test_a_first_start_says_once_that_not_every_open_row_is_watched(
    site: Site, jobs: JobLog, running: Running, said: Said
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", "http://127.0.0.1:9")])
    jobs.write(jobs.row("running") for _ in range(MOST_OPEN + 1))
    for _ in range(2):
        async with running():
            await until(lambda: said("more rows are open than are watched"), 60)
            (line,) = said("more rows are open than are watched: see `notifyd check`")
            assert (line["source"], line["watched"]) == ("jobs", MOST_OPEN)
