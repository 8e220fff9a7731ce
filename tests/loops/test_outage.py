"""A source that cannot be read: told once it lasts, also after a restart, and told again when it is over."""

from __future__ import annotations

from pathlib import Path

from notifyd.daemon import Daemon
from tests.loops.conftest import Clock, Running
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, until, webhook

FILTERS = {"filters": {"connectors": ["quickbooks"], "min_severity": "error"}}


def break_log(log: JobLog) -> None:
    log.connection.execute("ALTER TABLE jobs RENAME TO elsewhere")


def mend_log(log: JobLog) -> None:
    log.connection.execute("ALTER TABLE elsewhere RENAME TO jobs")


async def fails(daemon: Daemon) -> None:
    await until(lambda: not daemon.health.report()["source:jobs"]["ok"], what="the poll fails")


async def test_an_outage_that_lasts_is_told_once_and_so_is_its_end(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    configs = [webhook("ops", sink.url, **FILTERS), webhook("deaf", sink.url, filters={"event_types": ["rate_limit"]})]
    site.write(sources=[jobs.source("jobs", unreachable_after="5m")], notifications=configs)
    async with running() as daemon:
        break_log(jobs)
        await fails(daemon)
        clock.forward(daemon, minutes=4)
        await until(lambda: site.value("SELECT failing_since FROM cursors") is not None)
        assert sink.requests == []

        clock.forward(daemon, minutes=2)
        (opened,) = await sink.wait_for(1)
        clock.forward(daemon, minutes=30)
        mend_log(jobs)
        jobs.add("error", "written after the outage")
        _, *rest = await sink.wait_for(3)

    assert opened.json()["event_type"] == "source_unreachable"
    assert opened.json()["severity"] == "critical"
    told = {request.json()["event_type"]: request.json() for request in rest}
    assert told["recovered"]["closes"] == {"id": opened.json()["id"], "event_type": "source_unreachable"}
    assert told["sync_error"]["message"] == "written after the outage"
    assert {request.path for request in sink.requests} == {"/ops"}
    assert site.value("SELECT COUNT(*) FROM events WHERE event_type = 'source_unreachable'") == 1
    assert site.value("SELECT failing_since FROM cursors") is None
    assert site.imbalances() == []


async def test_a_short_outage_is_not_told(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("ops", sink.url)])
    async with running() as daemon:
        break_log(jobs)
        await fails(daemon)
        mend_log(jobs)
        await until(lambda: site.value("SELECT failing_since FROM cursors") is None)
        jobs.add("error", "the only news")
        await sink.wait_for(1)
        clock.forward(daemon, minutes=10)
    assert [request.json()["event_type"] for request in sink.requests] == ["sync_error"]


async def test_an_outage_goes_on_over_a_restart(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("ops", sink.url)])
    async with running() as daemon:
        break_log(jobs)
        await fails(daemon)
    clock.ahead += clock.ahead.__class__(minutes=6)
    async with running():
        await sink.wait_for(1)
    async with running():
        mend_log(jobs)
        await sink.wait_for(2)
    assert [request.json()["event_type"] for request in sink.requests] == ["source_unreachable", "recovered"]


async def test_with_a_system_config_only_it_is_told(
    site: Site, tmp_path: Path, sink: HttpSink, running: Running, jobs: JobLog, clock: Clock
) -> None:
    configs = [webhook("ops", sink.url, system=True), webhook("sales", sink.url)]
    site.write(sources=[jobs.source("jobs")], notifications=configs)
    async with running() as daemon:
        break_log(jobs)
        await fails(daemon)
        clock.forward(daemon, minutes=6)
        await sink.wait_for(1)
    assert [request.path for request in sink.requests] == ["/ops"]
