"""A log that is being written while it is read, and a file that another one takes the place of."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from notifyd.sources import Source, SourceError
from notifyd.sources.sqlite import SqliteDatabase
from tests.sources.logs import JOBS, NOW, Log, keys, read_all


def _row(number: int, run: str = "r") -> tuple[object, ...]:
    return (number, run, "failed", "boom", None)


def test_no_lock_outlives_a_read(jobs: Log, source: Source) -> None:
    jobs.add("jobs", [_row(number) for number in range(1, 10)])
    cursor = source.read(source.start(NOW).cursor, NOW, limit=3).cursor
    with closing(sqlite3.connect(jobs.path, timeout=0, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("INSERT INTO jobs (id) VALUES (10)")
        writer.execute("COMMIT")
    assert read_all(source, cursor)[0][-1].key == "10"


def test_no_lock_outlives_a_read_that_failed(jobs: Log) -> None:
    jobs.add("jobs", [_row(1), _row(2), _row(3)])
    database = SqliteDatabase(jobs.path)
    with pytest.raises(ZeroDivisionError):
        database.read("SELECT * FROM jobs", {}, lambda rows: next(iter(rows))[0] / 0)
    with closing(sqlite3.connect(jobs.path, timeout=0, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("ROLLBACK")
    database.close()


ENDLESS = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id, 'failed' AS status FROM n"


def test_a_statement_that_never_ends_is_ended(jobs: Log) -> None:
    with closing(SqliteDatabase(jobs.path, timeout=0.1)) as database:
        for _ in range(2):
            with pytest.raises(SourceError, match=r"a statement took longer than 0\.1 s .*: does it ever end\?"):
                database.read(f"SELECT count(*) FROM ({ENDLESS})", {}, list)
        assert database.read("SELECT 1", {}, list) == [(1,)]


def test_nor_does_a_query_without_an_end_hold_up_who_looks(jobs: Log) -> None:
    mapping = f'query = "{ENDLESS}"\ntimeout = "100ms"\ncolumns.key = "id"\ncolumns.status = "status"\n'
    with (
        closing(jobs.source(mapping + 'statuses.failure = ["failed"]')) as source,
        pytest.raises(SourceError, match="does it ever end"),
    ):
        source.newest(3, NOW)


def test_the_log_is_never_written(jobs: Log) -> None:
    database = SqliteDatabase(jobs.path)
    with pytest.raises(SourceError, match="readonly database"):
        database.read("INSERT INTO jobs (id) VALUES (1)", {}, list)
    database.close()


def test_a_live_writer_in_wal_mode_is_followed(jobs: Log, source: Source) -> None:
    jobs.run("PRAGMA journal_mode = WAL")
    cursor = source.start(NOW).cursor
    seen: list[str] = []
    with closing(sqlite3.connect(jobs.path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO jobs VALUES (1, 'r', 'failed', 'boom', NULL)")
        assert source.read(cursor, NOW).rows == 0, "not committed yet, and nobody waits"
        writer.execute("COMMIT")
        batch = source.read(cursor, NOW)
        seen += keys(batch.records)
        writer.execute("INSERT INTO jobs VALUES (2, 'r', 'failed', 'boom', NULL)")
        seen += keys(source.read(batch.cursor, NOW).records)
    assert seen == ["1", "2"]


def test_nothing_is_missed_while_rows_are_written(jobs: Log, source: Source) -> None:
    jobs.run("PRAGMA journal_mode = WAL")
    cursor = source.start(NOW).cursor
    writer = threading.Thread(target=lambda: [jobs.add("jobs", [_row(n), _row(n + 1)]) for n in range(1, 201, 2)])
    writer.start()
    seen: list[str] = []
    while len(seen) < 200:
        records, cursor = read_all(source, cursor, limit=7)
        seen += keys(records)
    writer.join()
    assert seen == [str(number) for number in range(1, 201)]


def test_a_file_that_is_replaced_is_the_one_that_is_read(jobs: Log, source: Source, tmp_path: Path) -> None:
    jobs.add("jobs", [_row(1)])
    _, cursor = read_all(source)
    other = Log(tmp_path / "other.db", JOBS)
    other.add("jobs", [_row(1), _row(2)])
    other.path.replace(jobs.path)
    assert keys(read_all(source, cursor)[0]) == ["2"]


def test_a_file_that_is_removed_is_missed_at_once(jobs: Log, source: Source) -> None:
    _, cursor = read_all(source)
    jobs.path.unlink()
    with pytest.raises(SourceError, match="no such file"):
        source.read(cursor, NOW)


def test_an_extra_rowid_column_is_no_rowid(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", "CREATE TABLE jobs (id TEXT, rowid TEXT, _rowid_ TEXT, oid TEXT)")
    with closing(sqlite3.connect(log.path)):
        relation = SqliteDatabase(log.path).table("jobs")
    assert relation.rowid is None, "all three names are taken"
    assert relation.columns["rowid"] == 't."rowid"'


def test_a_column_that_is_gone_is_an_error_and_not_its_name_as_text(jobs: Log, source: Source) -> None:
    """SQLite takes "error" in double quotes for the text 'error' where there is no such column."""
    jobs.add("jobs", [_row(1)])
    cursor = source.start(NOW).cursor
    jobs.run("ALTER TABLE jobs DROP COLUMN error")
    with pytest.raises(SourceError, match="error"):
        source.read(cursor, NOW)
