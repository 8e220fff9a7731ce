"""Logs that are not as they should be: one clear line, or a count that people see; the other sources go on."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from notifyd.daemon import Daemon
from tests.loops.conftest import Running, Said
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog, SyncLog
from tests.system.site import Site, of_type, until, webhook

# -- logs that cannot be read ------------------------------------------------------------------------


def a_log(path: Path) -> None:
    """A good one, in one file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(JobLog.schema)
        connection.execute("BEGIN")
        connection.executemany(JobLog.insert, [JobLog.row("ok", "x" * 500)] * 200)
        connection.execute("COMMIT")


def a_missing_file(path: Path) -> None:
    assert not path.exists()


def an_empty_file(path: Path) -> None:
    path.touch()


def a_directory(path: Path) -> None:
    path.mkdir()


def another_kind_of_file(path: Path) -> None:
    path.write_text("id,status\n1,error\n" * 1000)


def a_corrupted_database(path: Path) -> None:
    """Every page but the first is noise."""
    a_log(path)
    pages = path.read_bytes()
    path.write_bytes(pages[:4096] + b"\xa5" * (len(pages) - 4096))


def a_database_cut_off(path: Path) -> None:
    a_log(path)
    path.write_bytes(path.read_bytes()[:6000])


def a_missing_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE jobz (id INTEGER PRIMARY KEY, status TEXT)")


def a_missing_column(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, job, connector, state, error, ended_at)")


SPOILT: dict[Callable[[Path], None], str] = {
    a_missing_file: "no such file",
    an_empty_file: "is an empty file",
    a_directory: "is a directory",
    another_kind_of_file: "is not an SQLite database",
    a_corrupted_database: "is corrupted",
    a_database_cut_off: "is corrupted",
    a_missing_table: 'no table "jobs" in {path}; did you mean "jobz"?',
    a_missing_column: 'table "jobs" has no column "status" (columns.status); did you mean "state"?',
}


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """Where the log is that something is wrong with."""
    return tmp_path / "bad.db"


@pytest.fixture
def two_sources(site: Site, jobs: JobLog, bad: Path, sink: HttpSink) -> None:
    site.write(
        sources=[JobLog.source_at(bad, "bad", start="beginning"), jobs.source("healthy")],
        notifications=[webhook("hook", sink.url)],
    )


@pytest.mark.usefixtures("two_sources")
@pytest.mark.parametrize(("spoil", "words"), SPOILT.items(), ids=lambda value: getattr(value, "__name__", ""))
async def test_a_log_that_cannot_be_read_is_one_line_until_it_is_mended(
    spoil: Callable[[Path], None],
    words: str,
    site: Site,
    jobs: JobLog,
    bad: Path,
    sink: HttpSink,
    running: Running,
    said: Said,
) -> None:
    spoil(bad)
    async with running() as daemon:
        note = [await failed(daemon) for _ in range(3)][-1]
        jobs.add("error", "the other source goes on")
        await sink.wait_for(1)
        (line,) = said("", level="error")  # a poll while it is mended may find something else that is wrong
        remove(bad)
        with JobLog(bad) as mended:
            mended.add("error", "mended")
            _, request = await sink.wait_for(2)
            await until(lambda: site.query("SELECT error FROM cursors") == [(None,), (None,)])
    assert line["error"] == note
    assert note.startswith('source "bad": ')
    assert words.format(path=bad) in note
    assert "\n" not in note
    assert said.tracebacks == 0
    assert request.json()["message"] == "mended"
    assert site.imbalances() == []


@pytest.mark.usefixtures("two_sources")
async def test_a_locked_log_is_waited_for_and_then_one_line(
    site: Site, jobs: JobLog, bad: Path, sink: HttpSink, running: Running, said: Said
) -> None:
    a_log(bad)
    with closing(sqlite3.connect(bad, isolation_level=None)) as writer:
        async with running() as daemon:
            with exclusive(writer):
                note = await failed(daemon, timeout=20)
                jobs.add("error", "the other source goes on")
                await sink.wait_for(1)
            writer.execute(JobLog.insert, JobLog.row("error", "unlocked"))
            _, request = await sink.wait_for(2)
    assert f"{bad} is locked: a writer has held it for more than 5 s" in note
    assert [line["error"] for line in said("", level="error")] == [note]
    assert request.json()["message"] == "unlocked"


@pytest.mark.usefixtures("two_sources")
async def test_a_log_that_is_spoilt_while_it_is_read_repeats_nothing_once_it_is_mended(
    site: Site, bad: Path, sink: HttpSink, running: Running, said: Said
) -> None:
    a_log(bad)
    with closing(sqlite3.connect(bad)) as connection, connection:
        connection.execute(JobLog.insert, JobLog.row("error", "before"))
    good = bad.with_suffix(".good")
    async with running() as daemon:
        await sink.wait_for(1)
        shutil.copyfile(bad, good)
        a_corrupted_copy = good.with_suffix(".corrupted")
        a_corrupted_database(a_corrupted_copy)
        a_corrupted_copy.replace(bad)
        await failed(daemon)
        with closing(sqlite3.connect(good)) as connection, connection:
            connection.execute(JobLog.insert, JobLog.row("error", "after"))
        good.replace(bad)
        requests = await sink.wait_for(2)
    assert [request.json()["message"] for request in requests] == ["before", "after"]
    assert site.book("source:bad")["read"] == 202
    assert len(said("", level="error")) == 1


# -- rows that are not as they should be -------------------------------------------------------------


@pytest.fixture
def one_source(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])


@pytest.mark.usefixtures("one_source")
@pytest.mark.parametrize("status", [None, "", "exploded", 17, b"\xff", "ERROR!"])
async def test_a_status_that_nobody_mapped_is_counted(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, status: Any
) -> None:
    async with running():
        jobs.add(status, "who knows")
        jobs.add("error", "the next row")
        (request,) = await sink.wait_for(1)
    assert request.json()["message"] == "the next row"
    book = site.book("source:jobs")
    assert (book["read"], book["unmapped"], book["failure"]) == (2, 1, 1)
    assert site.imbalances() == []


@pytest.mark.usefixtures("one_source")
async def test_text_that_is_not_utf8_is_told_as_far_as_it_can_be_read(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    async with running():
        jobs.connection.execute(
            "INSERT INTO jobs (job, connector, status, error) VALUES ('nightly', 'quickbooks', 'error', ?)",
            [b"caf\xe9 \x00 closed"],
        )
        jobs.connection.execute(
            "INSERT INTO jobs (job, connector, status, error) VALUES ('nightly', 'quickbooks', 'error',"
            " CAST(x'636166e9' AS TEXT))"
        )
        requests = await sink.wait_for(2)
    assert [request.json()["message"][:4] for request in requests] == ["caf�", "caf�"]
    assert site.book("source:jobs")["failure"] == 2


@pytest.mark.usefixtures("one_source")
async def test_a_message_of_a_megabyte_is_told_in_short(jobs: JobLog, sink: HttpSink, running: Running) -> None:
    async with running():
        jobs.add("error", "500: " + "x" * 1_000_000)
        (request,) = await sink.wait_for(1)
    assert request.json()["message"].startswith("500: xxx")
    assert len(request.body) < 10_000


@pytest.mark.usefixtures("one_source")
async def test_a_row_from_the_future_does_not_spoil_the_streak(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    """A success of 2099 is not later than everything for ever: no row is later than when it was read."""
    async with running():
        jobs.add("ok", at=datetime(2099, 1, 1, tzinfo=UTC))
        await until(lambda: site.book("source:jobs")["success"] == 1)
        jobs.add("error", "no", at=datetime(2099, 1, 1, tzinfo=UTC))
        for _ in range(2):
            jobs.add("error", "no")
        requests = await sink.wait_for(4)
    assert len(of_type("consecutive_failures", requests)) == 1
    assert max(request.json()["timestamp"] for request in requests) < "2099"


async def test_a_row_that_cannot_be_mapped_is_set_aside_and_shown(
    site: Site, shop: SyncLog, sink: HttpSink, running: Running, said: Said
) -> None:
    site.write(sources=[shop.source("shop")], notifications=[webhook("hook", sink.url)])
    async with running():
        shop.write([shop.row("run-1", "error", key="k" * 1000), shop.row("run-2", "error", "the next row")])
        (request,) = await sink.wait_for(1)
    assert request.json()["message"] == "the next row"
    book = site.book("source:shop")
    assert (book["read"], book["set_aside"], book["failure"]) == (2, 1, 1)
    ((text,),) = site.query("SELECT text FROM set_aside")
    assert "its key is longer than 500 characters" in text
    assert len(said("rows set aside", source="shop", count=1)) == 1
    assert site.imbalances() == []


async def failed(daemon: Daemon, timeout: float = 10) -> str:
    """What the bad source's health says, once it was polled again in vain."""
    before = daemon.health.report().get("source:bad", {"last_turn": ""})["last_turn"]

    def report() -> dict[str, Any]:
        return daemon.health.report().get("source:bad", {"last_turn": before, "ok": True})

    await until(lambda: report()["last_turn"] != before and not report()["ok"], timeout)
    return str(report()["note"])


def remove(path: Path) -> None:
    """Whatever is there."""
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


@contextmanager
def exclusive(connection: sqlite3.Connection) -> Iterator[None]:
    """A writer that does not let go."""
    with ExitStack() as stack:
        connection.execute("BEGIN EXCLUSIVE")
        stack.callback(connection.execute, "ROLLBACK")
        yield
