"""A source of a running daemon is renamed, moved, read otherwise, disabled, removed and put back."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from notifyd.daemon import Daemon
from tests.loops.conftest import Clock, Running, Said
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, until, webhook

Write = Callable[..., None]


@pytest.fixture
def write(site: Site, sink: HttpSink, jobs: JobLog) -> Write:
    """Write the settings file: the jobs as they are read now, told to one config, each event by itself."""

    def write(*sources: dict[str, Any]) -> None:
        site.write(sources=sources, notifications=[webhook("ops", sink.url), webhook("deaf", sink.url, enabled=False)])

    return write


@pytest.fixture
async def failing(
    write: Write, jobs: JobLog, running: Running, sink: HttpSink
) -> AsyncIterator[tuple[Daemon, dict[str, Any]]]:
    """A daemon that has told of three failures in a row, and the streak's event."""
    write(jobs.source("jobs", start="beginning"))
    for _ in range(3):
        jobs.add("error", "no")
    async with running() as daemon:
        told = await sink.wait_for(4)
        (streak,) = [one.json() for one in told if one.json()["event_type"] == "consecutive_failures"]
        yield daemon, streak


def told(sink: HttpSink, event_type: str) -> list[dict[str, Any]]:
    return [one.json() for one in sink.requests if one.json()["event_type"] == event_type]


async def test_a_new_name_goes_on(
    failing: tuple[Daemon, dict[str, Any]], write: Write, jobs: JobLog, site: Site, sink: HttpSink
) -> None:
    daemon, streak = failing
    write(jobs.source("shop", id="jobs"))
    await daemon.reload(site.settings())
    jobs.add("ok")
    await until(lambda: told(sink, "recovered"))
    (recovered,) = told(sink, "recovered")
    assert (recovered["source"], recovered["closes"]["id"]) == ("shop", streak["id"])
    assert site.query("SELECT source_id, name FROM cursors") == [("jobs", "shop")]
    assert site.imbalances() == []


async def test_a_new_name_without_the_id_is_said_to_look_like_one(
    failing: tuple[Daemon, dict[str, Any]], write: Write, jobs: JobLog, site: Site, said: Said
) -> None:
    write(jobs.source("shop"))
    await failing[0].reload(site.settings())
    (line,) = said("shop reads what")
    assert line["event"] == (
        'shop reads what "jobs" read, which is in the file no more: if it was renamed, id = "jobs" lets it go on where '
        "that was; as it is, it begins at its start"
    )


async def test_another_file_with_the_same_log_goes_on(
    failing: tuple[Daemon, dict[str, Any]], write: Write, jobs: JobLog, site: Site, sink: HttpSink, said: Said
) -> None:
    daemon, streak = failing
    moved = site.folder / "moved.db"
    with closing(sqlite3.connect(moved)) as copy:
        jobs.connection.backup(copy)
        write(JobLog.source_at(moved, "jobs"))
        await daemon.reload(site.settings())
        with copy:
            copy.execute(JobLog.insert, JobLog.row("ok"))
    await until(lambda: told(sink, "recovered"))
    assert told(sink, "recovered")[0]["closes"]["id"] == streak["id"]
    assert len(said("its url changed; the last row that was read is there: it is read on", source="jobs")) == 1
    assert len(told(sink, "sync_error")) == 3
    assert site.book("source:jobs")["read"] == 4


async def test_another_order_tells_nothing_again(
    failing: tuple[Daemon, dict[str, Any]], write: Write, jobs: JobLog, site: Site, sink: HttpSink, said: Said
) -> None:
    columns = {**jobs.source("jobs")["columns"], "occurred_at": "ended_at"}
    write(jobs.source("jobs", cursor="timestamp", columns=columns))
    await failing[0].reload(site.settings())
    jobs.add("error", "new")
    await until(lambda: site.value("SELECT COUNT(*) FROM events") == 5)
    assert len(said("it was read by key so far, and now is by timestamp")) == 1
    assert site.value("SELECT failed_runs FROM streaks") == 4
    assert site.imbalances() == []


async def test_a_pause_keeps_what_is_open(
    failing: tuple[Daemon, dict[str, Any]], write: Write, jobs: JobLog, site: Site, sink: HttpSink, said: Said
) -> None:
    """Nothing is told of it meanwhile, and nothing is missed."""
    daemon, streak = failing
    write(jobs.source("jobs", enabled=False))
    await daemon.reload(site.settings())
    (line,) = said("a source is not read any more")
    assert (line["closed"], line["still_open"]) == (0, 1)
    jobs.add("ok")
    assert told(sink, "recovered") == []
    write(jobs.source("jobs"))
    await daemon.reload(site.settings())
    await until(lambda: told(sink, "recovered"))
    assert told(sink, "recovered")[0]["closes"]["id"] == streak["id"]


async def test_what_is_removed_is_closed_with_a_word_and_goes_on_when_it_comes_back(
    failing: tuple[Daemon, dict[str, Any]], write: Write, jobs: JobLog, site: Site, sink: HttpSink, said: Said
) -> None:
    daemon, streak = failing
    write()
    await daemon.reload(site.settings())
    await until(lambda: told(sink, "recovered"))
    (closed,) = told(sink, "recovered")
    assert closed["closes"] == {"id": streak["id"], "event_type": "consecutive_failures"}
    assert closed["title"] == "No Longer Watched: jobs"
    assert closed["message"] == (
        "The source jobs is not in the settings any more, so whether this goes on is not seen any more: "
        "Multiple Sync Failures: quickbooks."
    )
    await daemon.reload(site.settings())
    assert len(said("a source is not read any more")) == 1, "it is said once"

    jobs.add("error", "still")
    write(jobs.source("jobs"))
    await daemon.reload(site.settings())
    await until(lambda: len(told(sink, "consecutive_failures")) == 2)
    again = told(sink, "consecutive_failures")[1]
    assert again["id"] != streak["id"]
    assert "4" in again["message"], "what failed before counts"
    assert len(told(sink, "recovered")) == 1
    assert site.imbalances() == []


@pytest.mark.parametrize("sources", [0, 1])
async def test_that_it_cannot_be_read_is_closed_when_nobody_tries_to(
    sources: int, write: Write, jobs: JobLog, site: Site, sink: HttpSink, running: Running, clock: Clock
) -> None:
    """Removed, or disabled."""
    write(jobs.source("jobs"))
    async with running() as daemon:
        jobs.connection.execute("ALTER TABLE jobs RENAME TO elsewhere")
        await until(lambda: site.value("SELECT failing_since FROM cursors"))
        clock.forward(daemon, minutes=6)
        (opened,) = await sink.wait_for(1)
        write(*[jobs.source("jobs", enabled=False)][:sources])
        await daemon.reload(site.settings())
        _, closed = await sink.wait_for(2)
    assert closed.json()["closes"] == {"id": opened.json()["id"], "event_type": "source_unreachable"}
    assert site.query("SELECT condition, failing_since, error FROM cursors") == [(None, None, None)]


async def test_a_run_that_is_stuck_is_closed_with_its_source(
    write: Write, jobs: JobLog, site: Site, sink: HttpSink, running: Running, clock: Clock
) -> None:
    write(jobs.source("jobs", start="beginning"))
    jobs.add("running", at=clock() - timedelta(minutes=1))
    async with running() as daemon:
        await until(lambda: site.value("SELECT COUNT(*) FROM runs"))
        clock.forward(daemon, hours=7)
        (opened,) = await sink.wait_for(1)
        write()
        await daemon.reload(site.settings())
        _, closed = await sink.wait_for(2)
        assert closed.json()["closes"] == {"id": opened.json()["id"], "event_type": "stuck_run"}
        write(jobs.source("jobs"))
        await daemon.reload(site.settings())
        *_, again = await sink.wait_for(3)
    assert again.json()["event_type"] == "stuck_run", "it is stuck still"
    assert again.json()["id"] != opened.json()["id"]
    assert site.imbalances() == []
