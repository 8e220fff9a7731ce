"""`notifyd run` as a process: signals, reload, and the two ways in which it refuses to start."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import closing

import pytest

from tests.sinks.http import HANG, HttpSink
from tests.sinks.log import JobLog
from tests.system.process import Process
from tests.system.site import Site, of_type, until, webhook


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_tells_and_ends_cleanly(site: Site, jobs: JobLog, sink: HttpSink, number: signal.Signals) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file) as process:
        jobs.add("error", "no such order")
        (request,) = await sink.wait_for(1)
        assert await process.end(number) == 0
    assert request.json()["message"] == "no such order"
    assert site.states("hook") == ["sent"]
    assert [line["level"] for line in process.lines() if line["level"] not in ("info", "debug")] == []
    assert "Traceback" not in process.log.read_text()


async def test_a_reload_takes_a_good_file_and_refuses_a_bad_one(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    source = jobs.source("jobs")
    site.write(sources=[source], notifications=[webhook("old", sink.url)])
    async with Process(site.file) as process:
        jobs.add("error", "one")
        await sink.wait_for(1)

        site.file.write_text(site.file.read_text() + '\n[rules]\nthreshhold = 3\n\n[http]\nlisten = "nowhere"\n')
        process.send(signal.SIGHUP)
        await process.ready()
        refused = process.lines("the new settings are refused, the old ones go on")
        jobs.add("error", "two")
        await sink.wait_for(2)

        site.write(sources=[source], notifications=[webhook("new", sink.url)])
        process.send(signal.SIGHUP)
        await process.ready()
        jobs.add("error", "three")
        requests = await sink.wait_for(4)
        assert await process.end() == 0
    assert refused
    assert all(line["problem"].startswith(f"{site.file}:") for line in refused)
    assert [request.path for request in requests] == ["/old", "/old", "/new", "/new"]
    (announcement,) = of_type("consecutive_failures", requests)
    assert announcement.json()["details"]["failure_count"] == "3"  # the streak went on
    assert site.imbalances() == []


async def test_a_reload_that_cannot_start_goes_back(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    """The file is right, but its port is somebody else's."""
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("old", sink.url)])
    async with Process(site.file) as process:
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            site.write(sources=[jobs.source("jobs")], notifications=[webhook("new", sink.url)], http={"listen": listen})
            process.send(signal.SIGHUP)
            await process.ready()
            jobs.add("error", "one")
            (request,) = await sink.wait_for(1)
        (line,) = process.lines("the new settings are refused, the old ones go on")
        assert await process.end() == 0
    assert request.path == "/old"
    assert listen in line["problem"]


async def test_a_reload_loses_nothing_of_what_is_in_flight(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file) as process:
        for n in range(200):
            jobs.add("error", "no", job=f"job {n}")
            if n % 50 == 10:
                process.send(signal.SIGHUP)
                await process.ready()
        requests = await sink.wait_for(200)
        assert await process.end() == 0
    assert len({request.headers["webhook-id"] for request in requests}) == len(requests) == 200
    assert site.imbalances() == []


async def test_a_second_daemon_says_so_and_exits_1(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file):
        second = Process(site.file, site.folder / "second.log")
        await second.start()
        assert await second.ended() == 1
        jobs.add("error", "no")
        await sink.wait_for(1)
    (line,) = second.log.read_text().splitlines()
    assert f"another notifyd runs on the state DB {site.state}" in line


async def test_a_bad_file_is_refused_with_all_its_lines_and_2(site: Site) -> None:
    site.file.write_text('[daemon]\nstate = 7\n[[sources]]\nname = "jobs"\npol = "1s"\n')
    process = Process(site.file)
    await process.start()
    assert await process.ended() == 2
    lines = process.log.read_text().splitlines()
    assert any(line.startswith(f"{site.file}:2: daemon.state: ") for line in lines)
    assert any(line.startswith(f"{site.file}:5: ") and "did you mean" in line for line in lines)
    assert "Traceback" not in process.log.read_text()


async def test_a_stop_while_an_endpoint_hangs_ends_in_time(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    """The attempt may take its own timeout, and no longer."""
    sink.answer = HANG
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url, timeout="1s")])
    async with Process(site.file) as process:
        jobs.add("error", "no")
        await sink.wait_for(1)
        assert await process.end(timeout=5) == 0
    await until(lambda: site.states("hook") == ["retrying"])


@pytest.mark.parametrize(("wanted", "sends_by"), [(None, "httptools on uvloop"), (False, "httpcore on asyncio")])
async def test_the_extra_sends_where_it_is_installed_and_not_refused(
    site: Site, jobs: JobLog, sink: HttpSink, wanted: bool | None, sends_by: str
) -> None:
    daemon = {} if wanted is None else {"fast": wanted}
    site.write(daemon=daemon, sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file) as process:
        assert (await process.said("started"))["sends_by"] == sends_by
        jobs.add("error", "no such order")
        await sink.wait_for(1)


STUBBORN = '''
import asyncio
from notifyd.api import Channel, Options, hookimpl


class Stubborn(Channel[Options]):
    """Never ends."""

    name = "stubborn"
    Options = Options

    async def send(self, notification, ctx):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass


@hookimpl
def notifyd_channels():
    return [Stubborn]
'''


@pytest.mark.skipif(not os.environ.get("CI"), reason="it waits out the daemon's patience; CI has it")
async def test_a_channel_that_will_not_end_does_not_keep_it_from_ending(site: Site, jobs: JobLog) -> None:
    plugins = site.file.parent / "plugins"
    plugins.mkdir()
    (plugins / "stubborn.py").write_text(STUBBORN)
    config = {"name": "never", "notification_type": "stubborn", "timeout": "500ms"}
    site.write(daemon={"plugins_dir": str(plugins)}, sources=[jobs.source("jobs")], notifications=[config])
    async with Process(site.file) as process:
        jobs.add("error", "one")
        await until(lambda: site.states("never") == ["sending"])
        assert await process.end() == 0
    assert process.lines("what does not end is left behind")
