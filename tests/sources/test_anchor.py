"""A rowid is no identity: deleted and given again, moved by REPLACE, numbered anew by VACUUM or a restored dump."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from notifyd.sources import Source
from tests.sources.logs import JOBS_MAPPING, NOW, Log, keys, read_all

TABLE = "CREATE TABLE jobs (id TEXT, run TEXT, state TEXT, error TEXT, at TEXT)"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "jobs.db", TABLE, "CREATE UNIQUE INDEX jobs_by_id ON jobs (id)")


@pytest.fixture
def source(log: Log) -> Iterator[Source]:
    source = log.source(JOBS_MAPPING)
    yield source
    source.close()


def _rows(*names: str, at: str = "2026-11-24 20:00:00") -> list[tuple[object, ...]]:
    return [(name, f"r-{name}", "failed", "boom", at) for name in names]


def test_a_rowid_that_is_given_again_is_another_row(log: Log, source: Source) -> None:
    log.add("jobs", _rows("a", "b", "c"))
    _, cursor = read_all(source)
    log.run("DELETE FROM jobs WHERE id IN ('b', 'c')")
    log.add("jobs", _rows("d", "e", "f"))
    records, cursor = read_all(source, cursor)
    assert keys(records) == ["d", "e", "f"]
    assert read_all(source, cursor) == ([], cursor)


def test_a_key_that_is_given_again_is_another_row_in_a_new_epoch(jobs: Log) -> None:
    source = jobs.source(JOBS_MAPPING)
    jobs.add("jobs", [(1, "r1", "failed", "boom", None), (2, "r2", "failed", "boom", None)])
    jobs.run("UPDATE jobs SET at = '2026-11-24'")
    _, cursor = read_all(source)
    jobs.run("DELETE FROM jobs WHERE id = 2")
    jobs.add("jobs", [(None, "r3", "failed", "boom", "2026-11-24")])
    batch = source.read(cursor, NOW)
    assert [(record.key, record.run_id) for record in batch.records] == [("2", "r3")]
    assert batch.epoch == 1
    assert batch.notes == ('the last rows that were read are gone or others: column "id" 2; it is read on behind 1',)
    source.close()


def test_a_replaced_row_is_read_again_where_it_stands_now(log: Log, source: Source) -> None:
    log.add("jobs", _rows("a", "b", "c"))
    _, cursor = read_all(source)
    log.add("jobs", _rows("d"))
    log.run("INSERT OR REPLACE INTO jobs VALUES ('c', 'r', 'ok', NULL, NULL)")
    assert keys(read_all(source, cursor)[0]) == ["d", "c"], "d is not passed over though c has moved behind it"


def test_vacuum_numbers_rows_anew_and_nothing_is_read_twice(log: Log, source: Source) -> None:
    log.run("DROP INDEX jobs_by_id")  # with one, VACUUM keeps the numbers
    log.add("jobs", _rows(*(f"k{number:03}" for number in range(100))))
    _, cursor = read_all(source)
    log.run("DELETE FROM jobs WHERE rowid <= 50")
    log.run("VACUUM")
    log.add("jobs", _rows("new"))
    batch = source.read(cursor, NOW)
    assert (keys(batch.records), batch.epoch) == (["new"], 0)
    assert batch.notes == ("the rows have other numbers now: rowid 100 is 50; it is read on behind 50",)


def test_a_restored_dump_is_found_by_its_keys(log: Log, source: Source, tmp_path: Path) -> None:
    log.add("jobs", _rows("x", "y", "a", "b"))
    log.run("DELETE FROM jobs WHERE id IN ('x', 'y')")
    _, cursor = read_all(source)
    restored = Log(tmp_path / "restored.db", TABLE)
    restored.add("jobs", _rows("a", "b", "c"))
    restored.path.replace(log.path)
    assert keys(read_all(source, cursor)[0]) == ["c"]


def test_another_log_is_read_from_where_its_times_are_new(log: Log, source: Source) -> None:
    log.add("jobs", _rows(*(f"a{n:02}" for n in range(20))))
    _, cursor = read_all(source)
    log.run("DELETE FROM jobs")
    log.add("jobs", [*_rows("c", at="2026-11-20 19:00:00"), *_rows("d", "e", at="2026-11-24 20:30:00")])
    batch = source.read(cursor, NOW)
    assert (keys(batch.records), batch.epoch) == (["d", "e"], 0), "keys tell the rows apart, in the same epoch"
    assert batch.notes == ("the log is another one than was read, or all of it was replaced; it is read on behind 1",)


def test_a_row_in_the_place_of_one_that_was_read_is_new_whatever_its_date(log: Log, source: Source) -> None:
    log.add("jobs", _rows("a", "b"))
    _, cursor = read_all(source)
    log.run("DELETE FROM jobs")
    log.add("jobs", [*_rows("c", at="2026-11-20 19:00:00"), *_rows("d", "e", at="2026-11-24 20:30:00")])
    assert keys(source.read(cursor, NOW).records) == ["c", "d", "e"]


def test_a_purge_of_all_that_was_read_loses_nothing(log: Log, source: Source) -> None:
    log.add("jobs", _rows("a", "b", "c"))
    _, cursor = read_all(source)
    log.add("jobs", _rows("d"))
    log.run("DELETE FROM jobs WHERE id < 'd'")
    assert keys(read_all(source, cursor)[0]) == ["d"]


def test_rows_without_an_identity_anchor_nothing(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", "CREATE TABLE jobs (id TEXT, run, state, error, at)")
    log.add("jobs", [(None, *row[1:]) for row in _rows("a", "b")])
    source = log.source(JOBS_MAPPING)
    batch = source.read(source.start(NOW).cursor, NOW)
    assert len(batch.set_aside) == 2
    assert "anchor" not in batch.cursor
    source.close()
