"""The daemon's life: start, stop, restart, an edit of its settings, and a state DB that is not there for it."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from notifyd.daemon import Daemon, Patience
from notifyd.errors import NotifydError
from notifyd.store.database import Database, StoreError
from tests.loops.conftest import Clock, Running, Said
from tests.sinks.http import HANG, HttpSink, Request
from tests.sinks.log import JobLog
from tests.system.disk import fill, small_file_system
from tests.system.site import Site, free_port, of_type, until, webhook


@asynccontextmanager
async def http(port: int) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the daemon's HTTP server."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client


@contextmanager
def writing(database: Path) -> Iterator[sqlite3.Connection]:
    """Another writer holds an SQLite file's lock."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("ROLLBACK")


# -- stop and start ----------------------------------------------------------------------------------


async def test_a_stop_finishes_what_is_in_flight_and_leaves_the_rest(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    answers = asyncio.Event()

    async def slowly(_: Request) -> int:
        await answers.wait()
        return 200

    sink.answer = slowly
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with running() as daemon:
        jobs.write(jobs.row("error", "no", job=f"job {n}") for n in range(12))
        await sink.wait_for(8)
        stopping = asyncio.create_task(daemon.sender.stop(grace=10))
        await until(lambda: daemon.sender._loop.done())
        answers.set()
        await stopping
        assert site.states("hook") == ["sent"] * 8 + ["pending"] * 4
    async with running():
        requests = await sink.wait_for(12)
    assert len({request.headers["webhook-id"] for request in requests}) == len(requests) == 12
    assert [a["attempt"] for a in site.attempts("hook")] == [1] * 12


async def test_what_does_not_end_in_time_is_sent_again_by_the_next_start(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    sink.script = [HANG]
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with running() as daemon:
        jobs.add("error", "no")
        await sink.wait_for(1)
        await daemon.sender.stop(grace=0.05)
    assert [(a["result"], a["error"]) for a in site.attempts("hook")] == [("unknown", "unknown: the daemon stopped")]
    async with running():
        first, second = await sink.wait_for(2)
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert [a["result"] for a in site.attempts("hook")] == ["unknown", "sent"]


async def test_a_stop_does_not_wait_for_the_end_of_a_long_log(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    """Catching up stops after the batch at hand, and goes on there."""
    jobs.write(jobs.row("ok", job=f"job {n % 7}") for n in range(100_000))
    site.write(sources=[jobs.source("jobs", start="beginning")], notifications=[webhook("hook", sink.url)])
    daemon = Daemon(site.settings())
    await daemon.start()
    await until(lambda: site.value("SELECT COALESCE(SUM(value), 0) FROM counts WHERE what = 'read'") > 0)
    await daemon.stop()
    assert 0 < site.book("source:jobs")["read"] < 100_000
    async with running():
        await until(lambda: site.book("source:jobs")["read"] == 100_000)
    assert site.book("source:jobs")["success"] == 100_000


async def test_a_reload_that_failed_answers_also_while_the_old_settings_must_wait(
    site: Site, jobs: JobLog, sink: HttpSink
) -> None:
    """Somebody takes the daemon's port as soon as the reload lets go of it, and has the new one, too."""
    old, new = free_port(), free_port()
    keeps = {"sources": [jobs.source("jobs")], "notifications": [webhook("hook", sink.url)]}
    site.write(**keeps, http={"listen": f"127.0.0.1:{old}"})
    daemon = Daemon(site.settings(), patience=Patience(resumed=0.1))
    await daemon.start()
    taking = [asyncio.create_task(taken(port)) for port in (old, new)]
    try:
        site.write(**keeps, http={"listen": f"127.0.0.1:{new}"})
        await taking[1]
        async with asyncio.timeout(10):
            with pytest.raises(NotifydError, match=f"{new} cannot be used"):
                await daemon.reload(site.settings())
        (await taking[0]).close()
        jobs.add("error", "the old ones go on")
        await sink.wait_for(1)
    finally:
        for each in await asyncio.gather(*taking):
            each.close()
        await daemon.stop()


async def taken(port: int) -> socket.socket:
    """The port, as soon as nobody has it."""
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            await asyncio.sleep(0)


async def test_a_restart_repeats_nothing_and_loses_nothing(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with running():
        jobs.add("error", "before", job="a")
        await sink.wait_for(1)
    jobs.add("error", "meanwhile", job="b")
    async with running():
        await sink.wait_for(2)
        jobs.add("error", "after", job="c")
        requests = await sink.wait_for(3)
    assert [request.json()["message"] for request in requests] == ["before", "meanwhile", "after"]
    assert site.imbalances() == []


async def test_a_streak_survives_restarts_and_an_edit_of_the_config(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    source = jobs.source("jobs")
    site.write(sources=[source], notifications=[webhook("hook", sink.url)])
    async with running():
        jobs.add("error", "one")
        jobs.add("error", "two")
        await sink.wait_for(2)
    site.write(sources=[source], notifications=[webhook("hook", f"{sink.url}/moved")])
    async with running():
        jobs.add("error", "three")
        requests = await sink.wait_for(4)
    (announcement,) = of_type("consecutive_failures", requests)
    assert announcement.path == "/moved/hook"
    assert announcement.json()["details"]["failure_count"] == "3"
    site.write(sources=[source], notifications=[webhook("hook", sink.url, filters={"connectors": ["another"]})])
    async with running():
        jobs.add("ok")
        recovery = (await sink.wait_for(5))[4]
    assert recovery.json()["closes"]["id"] == announcement.json()["id"]


async def test_a_delivery_uses_the_options_of_the_moment(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    async with HttpSink() as wrong:
        wrong.answer = 503
        site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", wrong.url)])
        async with running():
            jobs.add("error", "no")
            await until(lambda: site.states("hook") == ["retrying"])
        site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
        async with running() as daemon:
            clock.forward(daemon, minutes=1)
            (request,) = await sink.wait_for(1)
        assert request.headers["webhook-id"] == wrong.requests[0].headers["webhook-id"]


@pytest.mark.parametrize(
    ("edit", "why"), [({"enabled": False}, "its config was disabled"), (None, "its config was deleted")]
)
async def test_what_waits_for_a_config_that_goes_is_cancelled_visibly(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, edit: dict[str, bool] | None, why: str
) -> None:
    sink.answer = 503
    source, hook = jobs.source("jobs"), webhook("hook", sink.url, window="5m")
    site.write(sources=[source], notifications=[hook])
    async with running():
        jobs.write(jobs.row("error", "no", job=f"job {n}") for n in range(3))
        await until(lambda: site.states("hook") == ["retrying", "gathering"])
    site.write(sources=[source], notifications=[] if edit is None else [hook | edit])
    async with running():
        jobs.add("error", "nobody asks")
        await until(lambda: site.book("source:jobs")["untold"] == 1)
    assert site.states("hook") == ["cancelled", "cancelled"]
    assert site.query("SELECT DISTINCT error FROM deliveries") == [(why,)]
    assert len(site.attempts("hook")) == len(sink.requests) == 1
    assert site.imbalances() == []


# -- one daemon per state DB -------------------------------------------------------------------------


async def test_a_second_daemon_says_so_and_leaves_the_first_in_peace(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with running():
        with pytest.raises(StoreError, match="another notifyd runs on the state DB"):
            await Daemon(site.settings()).start()
        jobs.add("error", "no")
        await sink.wait_for(1)


async def test_a_port_in_use_is_one_line_and_lets_everything_go(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)], http={"listen": listen})
        with pytest.raises(NotifydError, match=f"{listen} cannot be used") as caught:
            await Daemon(site.settings()).start()
    assert "\n" not in str(caught.value)
    async with running():  # neither the state DB nor the port is held any more
        jobs.add("error", "no")
        await sink.wait_for(1)


# -- health ------------------------------------------------------------------------------------------


async def test_it_is_ready_once_every_source_was_tried(
    site: Site, jobs: JobLog, sink: HttpSink, tmp_path: Path
) -> None:
    """A source whose database is locked holds up the readiness, and nothing else."""
    port = free_port()
    with JobLog(tmp_path / "locked.db") as locked:
        locked.connection.execute("PRAGMA journal_mode = delete")
        locked.connection.execute("BEGIN EXCLUSIVE")
        site.write(
            sources=[jobs.source("jobs"), locked.source("locked")],
            notifications=[webhook("hook", sink.url)],
            http={"listen": f"127.0.0.1:{port}"},
        )
        daemon = Daemon(site.settings())
        await daemon.start()
        async with http(port) as client:
            await until(lambda: daemon.health.waiting_for(daemon.expected) == ["source:locked"])
            not_ready = await client.get("/readyz")
            jobs.add("error", "no")
            await sink.wait_for(1)
            locked.connection.execute("ROLLBACK")
            await daemon.ready()
            ready, health = await client.get("/readyz"), await client.get("/healthz")
        await daemon.stop()
    assert (not_ready.status_code, not_ready.json()["waiting_for"]) == (503, ["source:locked"])
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    assert health.status_code == 200
    assert {name: part["ok"] for name, part in health.json()["parts"].items()} == {
        "scheduler": True,
        "sender": True,
        "source:jobs": True,
        "source:locked": True,
        "store": True,
    }


# -- a state DB that is not there for it -------------------------------------------------------------


async def test_it_waits_for_another_writer_of_the_state_db(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, said: Said
) -> None:
    """A backup or a person with a shell: everything waits, the event loop does not."""
    port = free_port()
    site.write(
        sources=[jobs.source("jobs")],
        notifications=[webhook("hook", sink.url)],
        http={"listen": f"127.0.0.1:{port}"},
    )
    async with running(), http(port) as client:
        with writing(site.state):
            jobs.add("error", "no")
            for _ in range(5):
                assert (await client.get("/healthz", timeout=3)).status_code == 200
                await asyncio.sleep(0.1)
            assert sink.requests == []
        await sink.wait_for(1)
    assert said("", level="error") == []


async def test_a_state_db_that_stays_locked_is_said_once_and_nothing_is_lost(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, said: Said
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with running() as daemon:
        await daemon.store(Database.run, "PRAGMA busy_timeout = 50")
        with writing(site.state):
            jobs.add("error", "no")
            for _ in range(3):
                await turned(daemon, ok=False)
            assert daemon.health.report()["source:jobs"]["ok"] is False
        await sink.wait_for(1)
        await turned(daemon, ok=True)
    assert len(said("", level="error", logger="notifyd.poller")) == 1
    assert said.tracebacks == 0
    assert site.imbalances() == []


async def test_a_full_disk_stops_the_polls_which_go_on_by_themselves(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, said: Said
) -> None:
    """SQLite is told that the state DB may not grow: what it answers is what it says of a full disk."""
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with running() as daemon:
        ((pages,),) = await daemon.store(Database.run, "PRAGMA page_count")
        await daemon.store(Database.run, f"PRAGMA max_page_count = {pages}")
        jobs.write(jobs.row("error", "x" * 1000, job=f"job {n}") for n in range(200))
        for _ in range(3):
            await turned(daemon, ok=False)
        assert site.book("source:jobs")["read"] == 0
        await daemon.store(Database.run, "PRAGMA max_page_count = 1000000")
        await sink.wait_for(200)
        await turned(daemon, ok=True)
    assert_told_once(said, "full")
    assert len(sink.requests) == 200
    assert site.imbalances() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
async def test_a_file_system_that_is_really_full(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, said: Said, tmp_path: Path
) -> None:
    with small_file_system(tmp_path / "disk", megabytes=8) as disk:
        site.state = disk / "state.db"
        site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
        async with running() as daemon:
            jobs.add("error", "there is room")
            await sink.wait_for(1)
            fill(disk / "ballast")
            jobs.write(jobs.row("error", "x" * 1000, job=f"job {n}") for n in range(500))
            for _ in range(3):
                await turned(daemon, ok=False)
            (disk / "ballast").unlink()
            await sink.wait_for(501, timeout=20)
            await turned(daemon, ok=True)
        assert_told_once(said, "full")
        assert len(sink.requests) == 501
        assert site.imbalances() == []


async def test_a_stop_while_the_disk_is_full_lets_everything_go(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    """What was sent and could not be recorded is sent again by the next start, with the same id."""
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with running() as daemon:
        sink.script = [HANG]
        jobs.add("error", "no")
        await sink.wait_for(1)
        await daemon.store(Database.run, "PRAGMA query_only = 1")
        await daemon.sender.stop(grace=0.05)
    async with running():
        first, second = await sink.wait_for(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def turned(daemon: Daemon, *, ok: bool) -> None:
    """Return once the source has been polled again, and that went well or did not."""
    before = daemon.health.report()["source:jobs"]["last_turn"]

    def again() -> bool:
        part = daemon.health.report()["source:jobs"]
        return bool(part["last_turn"] != before and part["ok"] is ok)

    await until(again)


def assert_told_once(said: Said, word: str) -> None:
    """One line when it began, one when it was over, and no traceback."""
    assert len([line for line in said("", level="error", logger="notifyd.poller") if word in str(line)]) == 1
    assert len(said("the source is read again", source="jobs")) == 1
    assert said.tracebacks == 0
