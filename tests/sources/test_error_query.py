"""The error text of a failed run, looked up elsewhere."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from notifyd.model import Record, Status
from notifyd.sources import SourceError
from notifyd.sources.error_query import MOST_ROWS, ErrorQuery
from notifyd.sources.sqlite import SqliteDatabase
from tests.sources.logs import NOW, Log, keys, read_all, read_once

RUNS = "CREATE TABLE runs (id INTEGER PRIMARY KEY, schedule TEXT, connector TEXT, state TEXT, error TEXT)"
ERRORS = "CREATE TABLE errors (run INTEGER, text TEXT, what TEXT, host TEXT)"

MAPPING = """
table = "runs"
start = "beginning"
ignore = ["never mind"]
error_query = "{query}"
[sources.columns]
key = "id"
schedule_id = "schedule"
connector_id = "connector"
status = "state"
message = "error"
[sources.statuses]
success = ["ok"]
failure = ["failed"]
running = ["running"]
"""

ONE = "SELECT text FROM errors WHERE run = :run_id"
MANY = "SELECT text AS message, what AS Entity_Type, 'pos' AS connector_id, host FROM errors WHERE run = :run_id"


@pytest.fixture
def runs(tmp_path: Path) -> Log:
    log = Log(tmp_path / "runs.db", RUNS, ERRORS)
    log.add("errors", [(1, "boom", "orders", "box"), (1, "bang", "items", "box"), (3, "never mind", None, None)])
    return log


def _records(log: Log, query: str) -> list[Record]:
    return read_once(log.source(MAPPING.format(query=query))).records


def test_the_one_column_is_the_message(runs: Log) -> None:
    runs.add("runs", [(1, None, None, "failed", None)])
    (record,) = _records(runs, ONE)
    assert (record.message, record.details) == ("boom", {})


def test_only_a_failure_without_a_message_is_looked_up(runs: Log) -> None:
    runs.add("runs", [(1, None, None, "ok", None), (2, None, None, "running", None), (3, None, None, "failed", "own")])
    messages = [record.message for record in _records(runs, "SELECT 'looked up'")]
    assert messages == [None, None, "own"]
    assert [record.details for record in _records(runs, "SELECT text FROM nowhere")] == [{}, {}, {}], "nobody asked"


def test_nothing_found_leaves_the_record_as_it_is(runs: Log) -> None:
    runs.add("runs", [(2, None, None, "failed", None)])
    (record,) = _records(runs, ONE)
    assert (record.message, record.details, record.status) == (None, {}, Status.FAILURE)


def test_several_columns_fill_what_is_empty_by_their_names(runs: Log) -> None:
    runs.add("runs", [(1, "nightly", "quickbooks", "failed", None)])
    (record,) = _records(runs, MANY)
    assert (record.message, record.entity_type, record.connector_id) == ("boom", "orders", "quickbooks")
    assert record.details == {"host": "box"}


def test_a_failure_stays_in_the_schedule_of_its_successes(runs: Log) -> None:
    """Without a schedule id, connector and entity type *are* the schedule."""
    runs.add("runs", [(1, None, None, "failed", None)])
    (record,) = _records(runs, MANY)
    assert (record.message, record.entity_type, record.connector_id) == ("boom", None, None)
    assert record.details == {"entity_type": "orders", "connector_id": "pos", "host": "box"}


def test_a_text_that_is_found_may_make_the_record_ignored(runs: Log) -> None:
    runs.add("runs", [(3, None, None, "failed", None)])
    assert [record.status for record in _records(runs, ONE)] == [Status.IGNORED]


def test_a_long_text_is_cut(runs: Log) -> None:
    runs.add("runs", [(7, None, None, "failed", None)])
    runs.add("errors", [(7, "x" * 1_000_000, None, None)])
    assert len(_records(runs, ONE)[0].message or "") == 2_000


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT text FROM nowhere WHERE run = :run_id", "no such table: nowhere"),
        ("SELECT text FROM errors WHERE run = :run", "binding"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELEC", "syntax error"),
    ],
)
def test_a_query_that_fails_costs_the_text_and_not_the_failure(runs: Log, query: str, problem: str) -> None:
    runs.add("runs", [(1, None, None, "failed", None), (2, None, None, "ok", None)])
    failure, success = _records(runs, query)
    assert failure.status is Status.FAILURE
    assert failure.message is None
    assert problem in failure.details["error_query"]
    assert success.status is Status.SUCCESS


def test_a_busy_database_is_asked_again(runs: Log) -> None:
    """The error text is worth waiting for: the batch fails as a whole, and comes again."""
    runs.add("runs", [(1, None, None, "failed", None)])
    (record,) = _records(runs, ONE)
    record = record._replace(message=None)
    database = SqliteDatabase(runs.path, busy_timeout=0.01)
    with closing(sqlite3.connect(runs.path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SourceError, match="locked"):
            ErrorQuery(ONE, database, None).complete(record)
    assert ErrorQuery(ONE, database, None).complete(record).message == "boom"
    database.close()


def test_batches_are_small_where_every_row_may_cost_a_query(runs: Log) -> None:
    runs.add("runs", [(None, None, None, "failed", None)] * 1_100)
    source = runs.source(MAPPING.format(query=ONE))
    batch = source.read(source.start(NOW).cursor, NOW)
    assert (batch.rows, batch.at_end) == (500, False)
    assert len(keys(read_all(source)[0])) == 1_100


def test_queries_that_are_too_slow_cost_texts_and_not_the_log(runs: Log) -> None:
    """Of one batch, those beyond its time are not made; the next batches are as small as fits."""
    runs.add("runs", [(number, None, None, "failed", None) for number in range(3)])
    failures = _records(runs, "SELECT NULL")
    with closing(SqliteDatabase(runs.path)) as database:
        query = ErrorQuery("SELECT 'found'", database, None, within=0.0)
        with query.batch():
            done = [query.complete(one) for one in failures]
        assert [one.message for one in done] == [None] * 3
        assert done[0].details["error_query"] == "not asked: 0 queries for one batch took longer than 0 s"
        assert query.news == (
            (
                "error_query is too slow, so failures come without their text: "
                "not asked: 0 queries for one batch took longer than 0 s"
            ),
        )
        assert (query.room, query.news) == (1, ())
        quick = ErrorQuery("SELECT 'found'", database, None, within=60.0)
        with quick.batch():
            assert [quick.complete(one).message for one in failures] == ["found"] * 3
        assert (quick.room, quick.news) == (MOST_ROWS, ())


def test_what_fits_is_found_out_again(runs: Log) -> None:
    runs.add("runs", [(1, None, None, "failed", None)])
    (failure,) = _records(runs, "SELECT NULL")
    with closing(SqliteDatabase(runs.path)) as database:
        query = ErrorQuery("SELECT 'found'", database, None, within=60.0)
        query.room = 3
        for room in (6, 12, 24):
            with query.batch():
                query.complete(failure)
            assert query.room == room
