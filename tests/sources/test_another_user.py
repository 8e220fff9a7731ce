"""SQLite as another user than the writer: what works, and which permission is missing where it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from notifyd.sources import SourceError
from tests.sources.logs import JOBS, JOBS_MAPPING, Log, keys, read_all

NOBODY = 65_534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@contextmanager
def another_user() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def log() -> Iterator[Log]:
    """A log in WAL mode in a folder that others may enter and read, and not write to."""
    folder = Path(tempfile.mkdtemp(prefix="notifyd-"))
    folder.chmod(0o755)
    log = Log(folder / "jobs.db", "PRAGMA journal_mode = WAL", JOBS)
    log.add("jobs", [(1, "r", "failed", "boom", None)])
    yield log
    shutil.rmtree(folder)


WRITER = """
import sqlite3, sys
log = sqlite3.connect(sys.argv[1], isolation_level=None)
for number in sys.stdin:
    log.execute(f"INSERT INTO jobs VALUES ({number}, 'r', 'failed', 'boom', NULL)")
    print("done", flush=True)
"""


@contextmanager
def writer(log: Log) -> Iterator[Callable[[int], None]]:
    """Another process that keeps the log open and writes a row when it is told to."""
    command = [sys.executable, "-c", WRITER, str(log.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout

        def write(number: int) -> None:
            print(number, file=process.stdin, flush=True)
            assert process.stdout
            assert process.stdout.readline() == "done\n"

        yield write


def test_a_live_writer_is_followed(log: Log) -> None:
    source = log.source(JOBS_MAPPING)
    with writer(log) as write:
        write(2)
        with another_user():
            records, cursor = read_all(source)
        write(3)
        with another_user():
            more, _ = read_all(source, cursor)
            source.close()
    assert (keys(records), keys(more)) == (["1", "2"], ["3"]), "nothing stale"


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda log: None, r"in WAL mode, the files jobs\.db-wal and -shm are gone .* let its group write to /"),
        (lambda log: log.path.chmod(0o600), "may not be read by this user; add it to the file's group"),
        (lambda log: log.path.parent.chmod(0o700), "cannot be read: Permission denied"),
    ],
)
def test_what_is_missing_is_said(log: Log, break_it: object, said: str) -> None:
    source = log.source(JOBS_MAPPING)
    break_it(log)  # type: ignore[operator]
    with another_user(), pytest.raises(SourceError, match=said):
        read_all(source)
    log.path.parent.chmod(0o777)
    log.path.chmod(0o666)
    with another_user():
        assert keys(read_all(source)[0]) == ["1"], "and once it is mended, it goes on"
        source.close()


def test_a_wal_that_may_not_be_read_is_named(log: Log) -> None:
    source = log.source(JOBS_MAPPING)
    with writer(log) as write:
        write(2)
        Path(f"{log.path}-shm").chmod(0o600)
        with another_user(), pytest.raises(SourceError, match=r"this user may not read /.*jobs\.db-shm: add it"):
            read_all(source)
