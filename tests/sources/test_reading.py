"""Which rows are read, in which order, and from where on."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifyd.core.watching import MOST_OPEN
from notifyd.model import Status
from notifyd.sources import Batch, Source, SourceError
from tests.sources.logs import JOBS, JOBS_MAPPING, NOW, Log, keys, read_all, read_once

AT_NOW = JOBS_MAPPING.replace('start = "beginning"\n', "")
DAY_BACK = JOBS_MAPPING.replace('"beginning"', '"24h"')


def _jobs(*ids: int, state: str = "failed", at: str | None = "2026-11-24 20:00:00") -> list[tuple[object, ...]]:
    return [(id_, f"r{id_}", state, "boom", at) for id_ in ids]


def _ago(hours: float) -> str:
    return (NOW - timedelta(hours=hours)).isoformat()


# -- batches -----------------------------------------------------------------------------------------


def test_rows_are_read_once_in_order_and_in_bounded_batches(jobs: Log, source: Source) -> None:
    jobs.add("jobs", _jobs(*range(1, 8)))
    cursor = source.start(NOW).cursor
    batches: list[Batch] = []
    for _ in range(4):
        batches.append(source.read(cursor, NOW, limit=3))
        cursor = batches[-1].cursor
    assert [keys(batch.records) for batch in batches] == [["1", "2", "3"], ["4", "5", "6"], ["7"], []]
    assert [batch.at_end for batch in batches] == [False, False, True, True]
    assert [batch.rows for batch in batches] == [3, 3, 1, 0]


def test_an_exactly_full_batch_is_not_known_to_be_the_last(jobs: Log, source: Source) -> None:
    jobs.add("jobs", _jobs(1, 2, 3))
    first = source.read(source.start(NOW).cursor, NOW, limit=3)
    assert not first.at_end
    assert source.read(first.cursor, NOW, limit=3).at_end


def test_new_rows_come_with_the_next_read(jobs: Log, source: Source) -> None:
    jobs.add("jobs", _jobs(1))
    records, cursor = read_all(source)
    assert keys(records) == ["1"]
    jobs.add("jobs", _jobs(2, 5))
    records, cursor = read_all(source, cursor)
    assert keys(records) == ["2", "5"]
    assert read_all(source, cursor) == ([], cursor)


def test_another_source_goes_on_where_the_cursor_says(jobs: Log, source: Source) -> None:
    jobs.add("jobs", _jobs(1, 2))
    _, cursor = read_all(source)
    jobs.add("jobs", _jobs(3))
    assert keys(read_all(jobs.source(JOBS_MAPPING), cursor)[0]) == ["3"]


def test_rows_that_are_set_aside_are_passed(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", "CREATE TABLE jobs (id TEXT, run, state, error, at)")
    log.add("jobs", [(None, *row[1:]) for row in _jobs(1, 2, 3)])
    source = log.source(JOBS_MAPPING)
    batch = source.read(source.start(NOW).cursor, NOW, limit=2)
    assert (batch.rows, len(batch.set_aside), batch.at_end) == (2, 2, False)
    assert source.read(batch.cursor, NOW, limit=2).rows == 1


@settings(deadline=None)  # files are made, on a machine that may be busy
@given(limits=st.lists(st.integers(1, 30), min_size=1), size=st.integers(0, 60))
def test_however_a_log_is_cut_into_batches_it_is_the_same_log(
    tmp_path_factory: pytest.TempPathFactory, limits: list[int], size: int
) -> None:
    log = Log(tmp_path_factory.mktemp("cut") / "jobs.db", JOBS)
    log.add("jobs", _jobs(*range(3, 3 + 2 * size, 2)))
    source = log.source(JOBS_MAPPING)
    whole, end = read_all(source)
    pieces, cursor, turn = [], source.start(NOW).cursor, 0
    while not (batch := source.read(cursor, NOW, limits[turn % len(limits)])).at_end or batch.rows:
        pieces += batch.records
        cursor, turn = batch.cursor, turn + 1
    source.close()
    assert pieces == whole
    assert cursor == end


# -- where reading starts ----------------------------------------------------------------------------


def test_a_first_start_begins_at_the_end(jobs: Log) -> None:
    jobs.add("jobs", _jobs(1, 2))
    source = jobs.source(AT_NOW)
    start = source.start(NOW)
    assert start.records == []
    assert read_all(source, start.cursor)[0] == []
    jobs.add("jobs", _jobs(3))
    assert keys(read_all(source, start.cursor)[0]) == ["3"]


def test_a_first_start_in_an_empty_log_reads_what_comes(jobs: Log) -> None:
    source = jobs.source(AT_NOW)
    cursor = source.start(NOW).cursor
    jobs.add("jobs", _jobs(1))
    assert keys(read_all(source, cursor)[0]) == ["1"]


def test_a_first_start_watches_what_is_running(jobs: Log) -> None:
    jobs.add("jobs", [*_jobs(1, state=" Running"), *_jobs(2), *_jobs(3, state="again"), *_jobs(4, state="ok")])
    start = jobs.source(AT_NOW).start(NOW)
    assert [(record.key, record.status) for record in start.records] == [("1", Status.RUNNING), ("3", Status.RETRYING)]


def test_a_first_start_watches_a_long_queue_and_check_says_where_it_is_too_long(jobs: Log) -> None:
    """A queue runs its oldest row next."""
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {MOST_OPEN})"
    jobs.run(f"INSERT INTO jobs {numbers} SELECT NULL, 'r', 'running', NULL, NULL FROM n")
    source = jobs.source(AT_NOW)
    records = source.start(NOW).records
    assert (records[0].key, len(records)) == ("1", MOST_OPEN)
    assert not any("are open" in warning for warning in source.about(None, NOW).warnings)
    jobs.add("jobs", _jobs(MOST_OPEN + 1, state="again"))
    assert any("more than 50,000 of its rows are open" in warning for warning in source.about(None, NOW).warnings)


def test_a_status_that_is_not_ascii_is_watched_too(jobs: Log) -> None:
    jobs.add("jobs", [*_jobs(1, state="LÄUFT"), *_jobs(2)])
    start = jobs.source(AT_NOW.replace('"running"', '"läuft"')).start(NOW)
    assert keys(start.records) == ["1"]


def test_a_first_start_may_reach_back(jobs: Log) -> None:
    jobs.add("jobs", [*_jobs(1, state="running", at=_ago(90)), *_jobs(2, at=_ago(30)), *_jobs(3, at=_ago(23))])
    jobs.add("jobs", [*_jobs(4, at=None), *_jobs(5, at="2099-01-01"), *_jobs(6, at=_ago(1), state="running")])
    source = jobs.source(DAY_BACK)
    start = source.start(NOW)
    assert keys(start.records) == ["1"], "what runs before the start; 6 will be read"
    assert keys(read_all(source, start.cursor)[0]) == ["3", "4", "5", "6"]


def test_reaching_back_looks_past_many_rows(jobs: Log) -> None:
    jobs.add("jobs", [*_jobs(*range(1, 2_501), at=_ago(48)), *_jobs(*range(2_501, 5_001), at=_ago(2))])
    source = jobs.source(DAY_BACK)
    assert keys(read_all(source)[0]) == [str(number) for number in range(2_501, 5_001)]


def test_a_row_of_the_future_says_nothing_about_its_place(jobs: Log) -> None:
    jobs.add(
        "jobs", [*_jobs(1, at=_ago(50)), *_jobs(2, at="2099-01-01"), *_jobs(3, at=_ago(50)), *_jobs(4, at=_ago(1))]
    )
    assert keys(read_all(jobs.source(DAY_BACK))[0]) == ["4"]


def test_reaching_back_finds_nothing_that_is_young_enough(jobs: Log) -> None:
    jobs.add("jobs", _jobs(1, 2, at=_ago(48)))
    assert read_all(jobs.source(DAY_BACK))[0] == []


def test_a_log_whose_times_say_nothing_is_read_from_its_beginning(jobs: Log) -> None:
    jobs.add("jobs", _jobs(1, 2, at="soon"))
    assert keys(read_all(jobs.source(DAY_BACK))[0]) == ["1", "2"]


def test_reaching_back_needs_a_time(jobs: Log) -> None:
    source = jobs.source(DAY_BACK.replace('occurred_at = "at"\n', ""))
    with pytest.raises(SourceError, match=r'source "shop": start is a time, but no time is mapped: map columns\.'):
        source.start(NOW)


# -- a log that comes later --------------------------------------------------------------------------


def test_a_table_that_comes_later_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", "CREATE TABLE other (id)")
    source = log.source(AT_NOW)
    cursor = source.start(NOW).cursor
    for _ in range(2):
        with pytest.raises(SourceError, match=r'^source "shop": no table "jobs" in .*/jobs\.db$'):
            source.read(cursor, NOW)
    log.run(JOBS)
    log.add("jobs", _jobs(1, at=NOW.isoformat()))
    assert keys(read_all(source, cursor)[0]) == ["1"]


def test_a_file_that_comes_later_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    source = Log(tmp_path / "jobs.db").source(AT_NOW)
    path.unlink()
    cursor = source.start(NOW).cursor
    with pytest.raises(SourceError, match=r'^source "shop": no such file: .*/jobs\.db$'):
        source.read(cursor, NOW)
    path.touch()
    with pytest.raises(SourceError, match="is an empty file, not an SQLite database yet"):
        source.read(cursor, NOW)
    Log(path, JOBS).add("jobs", _jobs(1, at=NOW.isoformat()))
    assert keys(read_all(source, cursor)[0]) == ["1"]


def test_a_mistyped_name_once_mended_does_not_tell_the_history(jobs: Log) -> None:
    jobs.add("jobs", [*_jobs(1, at=_ago(50)), *_jobs(2, state="running", at=_ago(5)), *_jobs(3, at=_ago(5))])
    cursor = jobs.source(AT_NOW.replace('"jobs"', '"jbos"')).start(NOW).cursor
    jobs.add("jobs", _jobs(4, at=NOW.isoformat()))
    mended = jobs.source(AT_NOW)
    first = mended.read(cursor, NOW)
    assert (keys(first.records), first.at_end) == (["2"], False), "what is running is watched"
    assert keys(read_all(mended, first.cursor)[0]) == ["4"]


def test_an_undated_log_that_comes_later_is_read_whole(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", "CREATE TABLE other (id)")
    source = log.source(AT_NOW.replace('occurred_at = "at"\n', ""))
    cursor = source.start(NOW).cursor
    log.run(JOBS)
    log.add("jobs", _jobs(1, 2))
    assert keys(read_all(source, cursor)[0]) == ["1", "2"]


def test_a_log_that_is_to_be_read_from_its_beginning_is_so_when_it_comes(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", "CREATE TABLE other (id)")
    source = log.source(JOBS_MAPPING)
    cursor = source.start(NOW).cursor
    log.run(JOBS)
    log.add("jobs", _jobs(1, at=_ago(500)))
    assert keys(read_all(source, cursor)[0]) == ["1"]


def test_a_first_start_that_fails_for_another_reason_says_so(jobs: Log) -> None:
    source = jobs.source(AT_NOW.replace('message = "error"', 'message = "nothing"'))
    with pytest.raises(SourceError, match="has no column"):
        source.start(NOW)


# -- a log that starts again -------------------------------------------------------------------------


def test_an_emptied_log_whose_rowids_restart_is_read_again(jobs: Log, source: Source) -> None:
    jobs.add("jobs", _jobs(1, 2, 3))
    _, cursor = read_all(source)
    jobs.run("DELETE FROM jobs")
    emptied = source.read(cursor, NOW)
    assert (emptied.rows, emptied.at_end, emptied.epoch) == (0, True, 1)
    assert emptied.notes == (
        'the log now ends before what was read of it: column "id" 3; it is read from its beginning',
    )
    assert source.read(emptied.cursor, NOW).notes == (), "once is enough"
    jobs.add("jobs", _jobs(1))
    again = source.read(emptied.cursor, NOW)
    assert (keys(again.records), again.epoch) == (["1"], 1)


BY_NAME = JOBS_MAPPING.replace("run_id", "schedule_id").replace("occurred_at", "finished_at")


@pytest.mark.parametrize("many", [1, 5, 9])
def test_a_log_of_schedules_and_ends_that_was_emptied_and_filled_between_two_reads_is_read_again(
    jobs: Log, many: int
) -> None:
    source = jobs.source(BY_NAME)
    jobs.add("jobs", _jobs(*range(1, many + 1)))
    _, cursor = read_all(source)
    jobs.run("DELETE FROM jobs")
    jobs.add("jobs", _jobs(*range(1, many + 1), at="2026-11-24 20:30:00"))
    records, cursor = read_all(source, cursor)
    assert len(records) == many
    assert read_all(source, cursor) == ([], cursor)
    source.close()


def test_a_row_that_was_run_again_in_place_is_no_other_log(jobs: Log) -> None:
    source = jobs.source(BY_NAME)
    jobs.add("jobs", _jobs(1, 2, 3))
    _, cursor = read_all(source)
    jobs.run("UPDATE jobs SET at = '2026-11-24 20:30:00' WHERE id > 1")
    batch = source.read(cursor, NOW)
    assert (batch.records, batch.epoch, batch.notes) == ([], 0, ())
    source.close()


def test_a_log_that_was_emptied_and_filled_between_two_reads_is_read_from_where_its_times_are_new(
    jobs: Log, source: Source
) -> None:
    jobs.add("jobs", [*_jobs(1, 2, at=_ago(3)), *_jobs(3, at=_ago(2))])
    _, cursor = read_all(source)
    jobs.run("DELETE FROM jobs")
    jobs.add("jobs", _jobs(1, 2, at=_ago(1)))
    again = source.read(cursor, NOW)
    assert (keys(again.records), again.at_end, again.epoch) == (["1", "2"], True, 1)
    assert again.notes == ("the log is another one than was read, or all of it was replaced; it is read on behind 0",)


def test_a_log_that_starts_again_before_anything_was_read_of_it(jobs: Log) -> None:
    jobs.add("jobs", _jobs(1, 2, 3, at=_ago(3)))
    source = jobs.source(AT_NOW)
    cursor = source.start(NOW).cursor
    jobs.run("DELETE FROM jobs")
    jobs.add("jobs", _jobs(1, at=NOW.isoformat()))
    assert keys(read_all(source, cursor)[0]) == ["1"]


def test_a_restored_backup_does_not_tell_its_history_again(jobs: Log, source: Source) -> None:
    jobs.add("jobs", [*_jobs(1, at=_ago(3)), *_jobs(2, at=_ago(2)), *_jobs(3, at=_ago(1))])
    _, cursor = read_all(source)
    jobs.run("DELETE FROM jobs WHERE id > 1")
    restored = source.read(cursor, NOW)
    assert (restored.at_end, restored.epoch) == (True, 1)
    assert restored.notes[0].endswith("it is read on behind 1")
    jobs.add("jobs", _jobs(2, at=_ago(0)))
    assert keys(read_all(source, restored.cursor)[0]) == ["2"]


def test_an_undated_log_that_starts_again_is_read_from_its_end(jobs: Log) -> None:
    source = jobs.source(JOBS_MAPPING.replace('occurred_at = "at"\n', ""))
    jobs.add("jobs", _jobs(1, 2, 3))
    _, cursor = read_all(source)
    jobs.run("DELETE FROM jobs WHERE id = 3")
    again = source.read(cursor, NOW)
    assert (again.at_end, again.epoch) == (True, 1)
    jobs.add("jobs", _jobs(3))
    assert keys(read_all(source, again.cursor)[0]) == ["3"]


def test_a_purge_of_old_rows_changes_nothing(jobs: Log, source: Source) -> None:
    jobs.add("jobs", _jobs(1, 2, 3))
    _, cursor = read_all(source)
    jobs.run("DELETE FROM jobs WHERE id < 3")
    assert source.read(cursor, NOW) == Batch([], [], cursor, at_end=True)


# -- what orders a log -------------------------------------------------------------------------------


def _strategy(source: Source) -> str:
    return str(json.loads(source.start(NOW).cursor)["strategy"])


@pytest.mark.parametrize(
    ("schema", "strategy"),
    [
        ("id INTEGER PRIMARY KEY", "key"),
        ("id BIGINT PRIMARY KEY", "key"),
        ("id INT NOT NULL UNIQUE", "key"),
        ("id INT UNIQUE", "rowid"),  # may be NULL
        ("id INT NOT NULL", "rowid"),  # may repeat, and has no index
        ("id TEXT PRIMARY KEY", "rowid"),
        ("id", "rowid"),
        ("id TEXT PRIMARY KEY, rowid TEXT", "rowid"),  # SQLite's own is _rowid_ then
    ],
)
def test_a_table_is_read_by_its_integer_key_or_by_rowid(tmp_path: Path, schema: str, strategy: str) -> None:
    log = Log(tmp_path / "jobs.db", f"CREATE TABLE jobs ({schema}, run, state, error, at)")
    log.add("jobs", [{"id": number, "state": "failed"} for number in (1, 2, 3)])
    source = log.source(JOBS_MAPPING)
    assert _strategy(source) == strategy
    assert keys(read_all(source)[0]) == ["1", "2", "3"]


def test_rowid_may_be_the_key(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", "CREATE TABLE jobs (run, state, error, at)")
    log.add("jobs", [("r", "failed", "boom", None)] * 2)
    source = log.source(JOBS_MAPPING.replace('key = "id"', 'key = "rowid"'))
    assert keys(read_all(source)[0]) == ["1", "2"]
    assert source.look_up(["2"], NOW).keys() == {"2"}


def test_a_table_without_rowid_is_read_by_its_integer_key(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", f"{JOBS} WITHOUT ROWID")
    log.add("jobs", _jobs(1, 2))
    assert keys(read_all(log.source(JOBS_MAPPING))[0]) == ["1", "2"]


def test_a_query_is_read_by_its_integer_key(jobs: Log) -> None:
    jobs.add("jobs", [*_jobs(1, 2, 3), *_jobs(4, state="noise")])
    query = "query = \"SELECT * FROM jobs WHERE state <> 'noise'; -- nobody cares\"\n"
    source = jobs.source(query.replace("; --", " --") + JOBS_MAPPING.replace('table = "jobs"\n', ""))
    records, cursor = read_all(source)
    assert keys(records) == ["1", "2", "3"]
    jobs.add("jobs", _jobs(5))
    assert keys(read_all(source, cursor)[0]) == ["5"]


@pytest.mark.parametrize("relation", ["query", "view"])
def test_a_query_or_view_with_a_text_key_is_read_by_the_rowid_that_it_selects(tmp_path: Path, relation: str) -> None:
    select = "SELECT rowid, id, run, state, error, at FROM raw"
    log = Log(tmp_path / "jobs.db", "CREATE TABLE raw (id TEXT, run, state, error, at)")
    log.run(f"CREATE VIEW jobs AS {select}")
    log.add("raw", [(name, *row[1:]) for name, row in zip("bca", _jobs(1, 2, 3), strict=True)])
    mapping = JOBS_MAPPING if relation == "view" else JOBS_MAPPING.replace('table = "jobs"', f'query = "{select};"')
    source = log.source(mapping)
    assert _strategy(source) == "rowid"
    assert keys(read_all(source)[0]) == ["b", "c", "a"]


@pytest.mark.parametrize(
    "schema",
    [
        ["CREATE TABLE jobs (id PRIMARY KEY, run, state, error, at) WITHOUT ROWID"],
        ["CREATE TABLE raw (id, run, state, error, at)", "CREATE VIEW jobs AS SELECT * FROM raw"],
    ],
)
def test_a_log_that_nothing_orders_says_what_to_map(tmp_path: Path, schema: list[str]) -> None:
    log = Log(tmp_path / "jobs.db", *schema)
    source = log.source(JOBS_MAPPING.replace('occurred_at = "at"\n', ""))
    cursor = source.start(NOW).cursor
    log.add("raw" if len(schema) == 2 else "jobs", [("uuid", "r", "failed", "boom", None)])
    with pytest.raises(SourceError, match="orders the log, but it holds text besides whole numbers: map a"):
        source.read(cursor, NOW)
    with pytest.raises(SourceError, match=r'columns\.key "id" of .* is no whole number, .*SELECT rowid'):
        source.read(cursor, NOW)


def test_a_cursor_of_another_strategy_is_refused_where_rows_have_no_time(jobs: Log, source: Source) -> None:
    jobs.add("jobs", _jobs(1))
    _, cursor = read_all(source)
    undated = JOBS_MAPPING.replace('key = "id"', 'key = "run"').replace('occurred_at = "at"\n', "")
    other = jobs.source(undated)
    said = r"its columns\.key changed, and nothing says where to go on, as its rows have no time: restore that"
    with pytest.raises(SourceError, match=f'^source "shop": {said}'):
        other.read(cursor, NOW)
    other.close()


@pytest.mark.parametrize("cursor", ["", "nonsense", "[]", "{}", '{"strategy": "key", "at": "x", "epoch": 0}'])
def test_a_cursor_of_nobody_is_refused(source: Source, cursor: str) -> None:
    with pytest.raises(SourceError, match=r'^source "shop": its cursor in the state DB cannot be understood'):
        source.read(cursor, NOW)


def test_names_may_be_strange(tmp_path: Path) -> None:
    log = Log(tmp_path / "a b#%20.db", 'CREATE TABLE "my ""jobs""" ("the id" TEXT, "select" TEXT, "a.b" TEXT)')
    log.add('"my ""jobs"""', [("1", "failed", "boom")])
    mapping = """
table = 'my "jobs"'
start = "beginning"
[sources.columns]
key = "THE ID"
status = "select"
message = "a.b"
[sources.statuses]
failure = ["failed"]
"""
    (record,) = read_once(log.source(mapping)).records
    assert (record.key, record.status, record.message) == ("1", Status.FAILURE, "boom")
