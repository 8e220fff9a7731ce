"""A log that is read by time: late rows, ties, the future, and times in any form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifyd.model import Status
from notifyd.settings.columns import Column
from notifyd.sources import Source, SourceError
from notifyd.sources.window import MOST_SEEN
from tests.sources.logs import NOW, Log, keys, read_all
from tests.sources.servers import Server
from tests.sources.workload import create, source_of

TABLE = "CREATE TABLE jobs (id TEXT PRIMARY KEY, state TEXT, at)"
MAPPING = """
table = "jobs"
start = "beginning"
cursor = "timestamp"
[sources.columns]
key = "id"
status = "state"
updated_at = "at"
[sources.statuses]
success = ["ok"]
failure = ["failed"]
running = ["running"]
"""


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "jobs.db", TABLE, "CREATE INDEX jobs_by_time ON jobs (at)")


@pytest.fixture
def source(log: Log) -> Iterator[Source]:
    source = log.source(MAPPING)
    yield source
    source.close()


def _ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")


def test_a_row_that_is_committed_late_is_read(log: Log, source: Source) -> None:
    log.add("jobs", [("b", "failed", _ago(10))])
    records, cursor = read_all(source)
    log.add("jobs", [("a", "failed", _ago(65)), ("c", "failed", _ago(10))])
    late, cursor = read_all(source, cursor)
    assert (keys(records), keys(late)) == (["b"], ["a", "c"]), "a is within the overlap, c is a tie"
    assert read_all(source, cursor) == ([], cursor), "nothing new changes nothing"


def test_each_change_of_a_row_is_read(log: Log, source: Source) -> None:
    log.add("jobs", [("a", "running", _ago(300))])
    records, cursor = read_all(source)
    for seconds, state in ((200, "failed"), (100, "running"), (50, "failed")):
        log.run(f"UPDATE jobs SET state = '{state}', at = '{_ago(seconds)}'")
        more, cursor = read_all(source, cursor)
        records += more
    assert [record.status for record in records] == [Status.RUNNING, Status.FAILURE, Status.RUNNING, Status.FAILURE]


def test_what_was_read_before_is_read_by_an_older_cursor_too(log: Log, source: Source) -> None:
    """Rows that are as they were are not parsed again; whether they are new is the cursor's word all the same."""
    log.add("jobs", [("a", "failed", _ago(30)), ("b", "ok", _ago(20))])
    first = source.start(NOW).cursor
    records, cursor = read_all(source, first)
    assert read_all(source, cursor) == ([], cursor)
    assert read_all(source, first) == (records, cursor)


def test_a_heartbeat_is_no_change(log: Log, source: Source) -> None:
    log.add("jobs", [("a", "running", _ago(30))])
    _, cursor = read_all(source)
    log.run(f"UPDATE jobs SET at = '{_ago(20)}'")
    assert read_all(source, cursor)[0] == []


def test_a_row_of_the_future_holds_nothing_up(log: Log, source: Source) -> None:
    log.add("jobs", [("a", "failed", "2099-01-01 00:00:00"), ("b", "failed", "soon")])
    records, cursor = read_all(source)
    log.add("jobs", [("c", "failed", _ago(1))])
    more, cursor = read_all(source, cursor)
    log.run("UPDATE jobs SET state = 'ok' WHERE id = 'a'")
    last, _ = read_all(source, cursor)
    assert (keys(records), keys(more)) == (["a", "b"], ["c"])
    assert [(record.key, record.status) for record in last] == [("a", Status.SUCCESS)]


FORMS = st.sampled_from(
    [
        lambda at: at.strftime("%Y-%m-%d %H:%M:%S"),
        lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        lambda at: at.strftime("%Y-%m-%d %H:%M:%S.%f+00:00"),
        lambda at: int(at.timestamp()),
        lambda at: at.timestamp(),
        lambda at: int(at.timestamp() * 1000),
        lambda at: int(at.timestamp()) * 10**9,
        lambda at: str(int(at.timestamp())),
    ]
)


@given(st.lists(st.tuples(FORMS, st.integers(0, 50), st.integers(0, 40)), min_size=1, max_size=25), st.integers(1, 7))
@settings(deadline=None, max_examples=60)
def test_times_may_be_of_any_form_and_mixed(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, int, int]], limit: int
) -> None:
    """Whatever the form, a row that is at most the overlap late is read, once; day breaks included."""
    log = Log(tmp_path_factory.mktemp("forms") / "jobs.db", TABLE, "CREATE INDEX jobs_by_time ON jobs (at)")
    source = log.source(MAPPING)
    now = datetime.fromisoformat("2026-11-24T23:59:00Z")
    cursor, told = source.start(now).cursor, []
    for number, (form, passed, late) in enumerate(rows):
        now += timedelta(seconds=passed)
        log.add("jobs", [(f"k{number}", "failed", form(now - timedelta(seconds=late)))])  # type: ignore[operator]
        while not (batch := source.read(cursor, now, limit)).at_end:
            told += keys(batch.records)
            cursor = batch.cursor
        told += keys(batch.records)
        cursor = batch.cursor
    source.close()
    assert sorted(told) == sorted(f"k{number}" for number in range(len(rows)))


def test_the_hour_that_comes_twice_is_read_twice_and_told_once(log: Log) -> None:
    """Edmonton's clocks go back at 08:00 UTC on 1 November 2026: local 01:00 to 02:00 comes twice."""
    source = log.source('timezone = "America/Edmonton"\n' + MAPPING)
    cursor, told = source.start(NOW).cursor, []
    for minute in range(0, 180, 10):
        now = datetime.fromisoformat("2026-11-01T06:30:00Z") + timedelta(minutes=minute)
        local = now.astimezone(source.settings.timezone).strftime("%Y-%m-%d %H:%M:%S")
        log.add("jobs", [(f"k{minute:03}", "failed", local)])
        records, cursor = _read_all_at(source, cursor, now + timedelta(seconds=1))
        told += records
    source.close()
    assert told == [f"k{minute:03}" for minute in range(0, 180, 10)]


def _read_all_at(source: Source, cursor: str, now: datetime) -> tuple[list[str], str]:
    batch = source.read(cursor, now)
    return keys(batch.records), batch.cursor


def test_a_first_start_begins_now(log: Log) -> None:
    log.add("jobs", [("a", "running", _ago(5_000)), ("b", "failed", _ago(5)), ("c", "failed", _ago(0))])
    source = log.source(MAPPING.replace('start = "beginning"\n', ""))
    start = source.start(NOW)
    assert keys(start.records) == ["a"], "what runs is watched"
    log.add("jobs", [("d", "failed", _ago(20))])
    assert keys(read_all(source, start.cursor)[0]) == ["d"]
    source.close()


def test_a_first_start_may_reach_back(log: Log) -> None:
    log.add("jobs", [("a", "failed", _ago(5_000)), ("b", "failed", _ago(3_000))])
    source = log.source(MAPPING.replace('"beginning"', '"1h"'))
    assert keys(read_all(source)[0]) == ["b"]
    source.close()


def test_a_clock_that_was_set_back_loses_nothing(log: Log, source: Source) -> None:
    log.add("jobs", [("a", "failed", _ago(0))])
    _, cursor = read_all(source)
    back = NOW - timedelta(hours=5)
    log.add("jobs", [("b", "failed", back.strftime("%Y-%m-%d %H:%M:%S"))])
    assert "b" in keys(source.read(cursor, back).records)


def test_a_catch_up_comes_in_batches(log: Log, source: Source) -> None:
    log.add("jobs", [(f"k{number:04}", "failed", _ago(number // 10)) for number in range(1_000)])
    records, cursor = read_all(source, limit=64)
    assert len(keys(records)) == len(set(keys(records))) == 1_000
    assert read_all(source, cursor, limit=2_000)[0] == []


def test_a_row_that_is_committed_late_in_a_burst_is_read(log: Log, source: Source) -> None:
    log.add("jobs", [(f"k{number:05}", "ok", _ago(1)) for number in range(12_000)])
    _, cursor = read_all(source)
    log.add("jobs", [("late", "failed", _ago(5))])
    assert keys(read_all(source, cursor)[0]) == ["late"]


def test_a_cursor_stays_bounded_and_that_is_said(log: Log, source: Source) -> None:
    count = MOST_SEEN + 2_000
    log.add("jobs", [(f"k{number:05}", "failed", _ago(50 - number / 1_000)) for number in range(count)])
    batch = source.read(source.start(NOW).cursor, NOW, count + 1)
    seen = json.loads(batch.cursor)["window"]["seen"]
    assert len(batch.records) == count
    assert sum(map(len, seen.values())) <= MOST_SEEN
    assert ["more than 30,000 rows lie within the overlap of 1m" in note for note in batch.notes] == [True]
    again = source.read(batch.cursor, NOW, count + 1)
    assert (again.records, again.notes) == ([], ()), "what is not remembered is not read again, and it is said once"


@pytest.mark.parametrize("begin", ["now", "1h"])
@pytest.mark.parametrize("zone", ["UTC", "America/Lima"])
def test_a_date_may_be_any_time_of_its_day(log: Log, begin: str, zone: str) -> None:
    mapping = MAPPING.replace('start = "beginning"', f'start = "{begin}"\ntimezone = "{zone}"')
    source = log.source(mapping)
    log.add("jobs", [("old", "failed", "2026-11-22"), ("before", "failed", "2026-11-24")])
    cursor = source.start(NOW).cursor
    first, cursor = read_all(source, cursor)
    assert keys(first) == ([] if begin == "now" else ["before"])
    log.add("jobs", [("today", "failed", "2026-11-24")])
    records, cursor = read_all(source, cursor)
    assert keys(records) == ["today"]
    assert read_all(source, cursor) == ([], cursor)
    source.close()


def test_a_column_of_dates_too(server: Server, tmp_path: Path) -> None:
    create(server)
    server.run("ALTER TABLE jobs ADD COLUMN day date", "CREATE INDEX by_day ON jobs (day)")
    insert = "INSERT INTO jobs (name, state, day) VALUES ('{}', 'failed', '2026-11-24')"
    server.run(insert.format("one"))
    source = source_of(server, tmp_path, more='cursor = "timestamp"')
    day = source.settings.columns.model_copy(update={"updated_at": Column("day")})
    source.settings = source.settings.model_copy(update={"columns": day, "start": "now"})
    cursor = source.start(NOW).cursor
    server.run(insert.format("two"))
    assert [record.run_id for record in read_all(source, cursor)[0]] == ["two"]
    source.close()


def test_whether_the_cursor_has_passed_a_row(log: Log, source: Source) -> None:
    log.add("jobs", [("a", "failed", _ago(100))])
    _, cursor = read_all(source)
    log.add("jobs", [("b", "failed", _ago(10))])
    assert [source.passed(cursor, key) for key in "abc"] == [True, False, None]


def test_a_time_has_to_be_mapped(log: Log) -> None:
    with pytest.raises(SourceError, match=r"needs a time: map columns\.updated_at or occurred_at"):
        log.source(MAPPING.replace('updated_at = "at"\n', "")).start(NOW)


def test_a_poll_reads_one_range_of_the_index_for_each_form(log: Log, source: Source) -> None:
    log.add("jobs", [("a", "failed", _ago(1))])
    read_all(source)
    statements: list[str] = []
    session = source._open
    assert session is not None
    session.database._connection.set_trace_callback(statements.append)  # type: ignore[attr-defined]
    read_all(source, source.start(NOW).cursor)
    (statement,) = [one for one in statements if "LIMIT" in one and "IS NOT NULL" not in one] or [statements[-1]]
    plan = session.database.read(f"EXPLAIN QUERY PLAN {statement}", {}, list)
    assert not [step for step in plan if str(step[3]).startswith("SCAN t") and "INDEX" not in str(step[3])]


def test_what_was_read_before_costs_no_batch_of_its_own(log: Log, source: Source) -> None:
    log.add("jobs", [(f"n{number:03}", "ok", _ago(number % 60)) for number in range(100)])
    _, cursor = read_all(source)
    batch = source.read(cursor, NOW, limit=30)
    assert (batch.rows, batch.at_end, batch.cursor == cursor) == (0, True, True)
