"""What may befall the process from outside: nothing is lost, and what is wrong is said once."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from notifyd.daemon import Patience
from tests.cli.conftest import aside
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.disk import fill, small_file_system
from tests.system.memory import MemoryGroup
from tests.system.process import Process
from tests.system.site import Site, free_port, until, webhook

ROWS = 300


def failures(jobs: JobLog) -> None:
    jobs.write(jobs.row("error", "no", job=f"job {n}") for n in range(ROWS))


async def all_told_once(site: Site, sink: HttpSink) -> None:
    """Every row was told, and no delivery twice."""
    requests = await sink.wait_for(ROWS, timeout=60)
    await until(lambda: site.states("hook") == ["sent"] * ROWS, timeout=30)
    assert len({request.headers["webhook-id"] for request in requests}) == len(requests) == ROWS
    assert site.imbalances() == []


async def test_sigterm_under_load_ends_in_time_and_repeats_nothing(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file) as process:
        failures(jobs)
        await sink.wait_for(20)
        assert await process.end(timeout=60) == 0
    assert len(sink.requests) < ROWS
    async with Process(site.file):
        await all_told_once(site, sink)


async def test_what_is_killed_loses_nothing(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file) as process:
        failures(jobs)
        await sink.wait_for(20)
        assert await process.end(signal.SIGKILL) == -signal.SIGKILL
    await nothing_is_lost(site, sink)


async def test_what_the_kernel_kills_for_its_memory_loses_nothing(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    """It is killed while it reads more than it may keep, and sends; it may keep it when it starts again."""
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    with MemoryGroup.made() as group:
        async with Process(site.file) as process:
            group.take(process.pid)
            failures(jobs)
            await sink.wait_for(20)
            group.leave(1 << 20)
            jobs.write(jobs.row("ok", "x" * 2000, job="large") for _ in range(8000))
            assert await process.ended() == -signal.SIGKILL
        assert group.killed == 1
    await nothing_is_lost(site, sink)


async def nothing_is_lost(site: Site, sink: HttpSink) -> None:
    """What is started again tells all that is left; only what was in flight may go out twice, under the same id."""
    async with Process(site.file):
        await until(lambda: site.states("hook") == ["sent"] * ROWS, timeout=60)
    assert len({request.headers["webhook-id"] for request in sink.requests}) == ROWS
    in_flight = [each for each in site.attempts("hook") if each["error"] == "unknown: the daemon stopped"]
    assert len(sink.requests) - ROWS <= len(in_flight) < ROWS
    assert site.imbalances() == []


async def test_where_nobody_reads_its_log_it_goes_on(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    reader, writer = os.pipe()
    process = Process(site.file, log=None)
    await process.start(output=writer)
    os.close(writer)
    await process.ready()
    os.close(reader)  # from now on each write is EPIPE
    failures(jobs)
    await all_told_once(site, sink)
    assert await process.end() == 0


async def test_where_descriptors_run_out_it_recovers(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file) as process:
        failures(jobs)
        await sink.wait_for(5)
        resource = pytest.importorskip("resource")
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        in_use = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (in_use, hard))
        await asyncio.sleep(1)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        await all_told_once(site, sink)
        assert await process.end() == 0
    assert "Traceback" not in process.log.read_text()


async def test_a_corrupted_state_db_is_said_once_with_what_to_do_and_left_as_it_is(
    site: Site, jobs: JobLog, sink: HttpSink
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file):
        jobs.add("error", "no")
        await sink.wait_for(1)
    with site.state.open("r+b") as file:
        file.write(b"\0" * 4096)
    before = site.state.read_bytes()
    process = Process(site.file, site.folder / "second.log")
    await process.start()
    assert await process.ended() == 3  # no restart mends it, and the unit knows that
    (line,) = process.log.read_text().splitlines()
    assert "not a database" in line
    assert "notifyd restore" in line
    assert site.state.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
async def test_a_full_disk_is_said_wherever_one_looks_and_a_reload_answers(
    site: Site, jobs: JobLog, sink: HttpSink, tmp_path: Path
) -> None:
    with small_file_system(tmp_path / "disk", megabytes=8) as disk:
        site.state, port = disk / "state.db", free_port()
        tables: dict[str, Any] = {"sources": [jobs.source("jobs")], "http": {"listen": f"127.0.0.1:{port}"}}
        site.write(notifications=[webhook("hook", sink.url)], **tables)
        async with Process(site.file, watchdog=1.0) as process, client(site, port) as ask:
            fill(disk / "ballast")
            failures(jobs)
            said = f"the state DB {site.state} cannot be used: database or disk is full: free some room there; "
            await process.tells_of(said)
            site.write(notifications=[webhook("hook", sink.url), webhook("new", sink.url)], **tables)
            refused = await aside("reload", site=site)
            assert (refused.exit_code, "database or disk is full" in refused.stderr) == (1, True)
            await process.tells_of(said)
            health = await ask.get("/healthz")
            assert (health.status_code, health.json()["status"].startswith(said)) == (200, True)
            assert (await ask.get("/api/notifications/status")).json()["troubles"][0].startswith(said)
            assert f"trouble: {said}" in (await aside("status", site=site)).stdout
            (disk / "ballast").unlink()
            await all_told_once(site, sink)
            await process.tells_of("1 source, lag 0 s, 0 pending")
            assert (await aside("reload", site=site)).exit_code == 0
            assert "trouble" not in (await aside("status", site=site)).stdout
            assert (await ask.get("/healthz")).json()["status"] == "ok"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
@pytest.mark.parametrize("lived", [True, False], ids=["a later start", "the first start"])
async def test_a_start_on_a_full_disk_waits_for_room(
    site: Site, jobs: JobLog, sink: HttpSink, tmp_path: Path, *, lived: bool
) -> None:
    with small_file_system(tmp_path / "disk", megabytes=4) as disk:
        site.state = disk / "state.db"
        site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
        if lived:
            async with Process(site.file, tmp_path / "first.log"):
                pass
        fill(disk / "ballast")
        await waits(site, jobs, sink, "free some room there", (disk / "ballast").unlink)


async def test_a_start_beside_a_lock_waits_for_its_end(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file, site.folder / "first.log"):
        pass
    with closing(sqlite3.connect(site.state, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await waits(site, jobs, sink, "another process holds it", lambda: other.execute("ROLLBACK"))


async def waits(site: Site, jobs: JobLog, sink: HttpSink, what: str, mend: Callable[[], object]) -> None:
    """It says once what it waits for, asks systemd for patience, and goes on by itself."""
    process = Process(site.file, patience=Patience(lock=0.3))
    await process.start()
    try:
        for _ in range(2):
            assert "EXTEND_TIMEOUT_USEC" in await process.tells_of("waits for the state DB: the ")
        mend()
        await process.ready()
        jobs.add("error", "no")
        await sink.wait_for(1)
        assert await process.end() == 0
    finally:
        if process.returncode is None:
            await process.end(signal.SIGKILL)
    (line,) = [line for line in process.lines() if line["level"] in ("warning", "error", "critical")]
    assert what in line["problem"]
    assert site.imbalances() == []


@asynccontextmanager
async def client(site: Site, port: int) -> AsyncIterator[httpx.AsyncClient]:
    """Who may ask the daemon everything."""
    made = await aside("token", "create", "--name", "all", "--permission", "manage_settings", "--json", site=site)
    headers = {"Authorization": f"Bearer {made.json['token']}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as asking:
        yield asking


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("CI"), reason="it takes more than a minute; CI has it")
async def test_a_state_db_that_another_process_locks_for_a_minute(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file, watchdog=30.0) as process:
        with closing(sqlite3.connect(site.state, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            failures(jobs)
            assert await process.watched(60) >= 10
            other.execute("ROLLBACK")
        await all_told_once(site, sink)
    errors = [(line["event"], line.get("job")) for line in process.lines() if line["level"] == "error"]
    assert len(errors) == len(set(errors)), errors
    assert "Traceback" not in process.log.read_text()
