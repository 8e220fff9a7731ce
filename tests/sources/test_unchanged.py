"""A file that nobody has written to since it was read to its end is not read again."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import pytest

from notifyd.sources import Cursor, Source
from tests.sources.logs import JOBS_MAPPING, NOW, Log, keys, read_all

BY_TIME = JOBS_MAPPING.replace("start =", 'cursor = "timestamp"\nstart =').replace("occurred_at =", "updated_at =")
WITH_CHANGES = JOBS_MAPPING.replace("occurred_at =", "updated_at =")
VERSION = ["PRAGMA data_version"]


@pytest.fixture
def full(jobs: Log) -> Log:
    jobs.run("CREATE INDEX jobs_by_time ON jobs (at)", "CREATE VIEW v AS SELECT * FROM jobs")
    jobs.add("jobs", [(1, "r1", "failed", "no", "2026-11-24 20:59:30"), (2, "r2", "ok", "", "2026-11-24 20:59:50")])
    return jobs


@pytest.mark.parametrize("mapping", [JOBS_MAPPING, BY_TIME, WITH_CHANGES], ids=["key", "time", "changes"])
def test_it_is_asked_for_its_version_alone(full: Log, mapping: str) -> None:
    with closing(full.source(mapping)) as source:
        _, cursor = read_all(source)
        assert _statements(source, cursor) == VERSION
        assert _statements(source, cursor) == VERSION
        full.add("jobs", [(3, "r3", "failed", "no", "2026-11-24 20:59:59")])
        records, after = read_all(source, cursor)
        assert keys(records) == ["3"]
        assert _statements(source, after) == VERSION


def test_another_cursor_is_read_from(full: Log) -> None:
    with closing(full.source(JOBS_MAPPING)) as source:
        first = source.start(NOW).cursor
        assert keys(read_all(source, first)[0]) == ["1", "2"]
        assert keys(read_all(source, first)[0]) == ["1", "2"]


@pytest.mark.parametrize(
    "mapping",
    [
        JOBS_MAPPING.replace('"jobs"', '"v"'),
        JOBS_MAPPING.replace('table = "jobs"', 'query = "SELECT * FROM jobs"'),
        JOBS_MAPPING.replace('"state"', """{ sql = "CASE WHEN at < datetime('now') THEN state END" }"""),
        BY_TIME.replace('"at"', """{ sql = "coalesce(at, datetime('now'))" }"""),
    ],
    ids=["a view", "a query", "an expression", "a time of SQL"],
)
def test_what_may_look_at_the_clock_is_read_each_time(full: Log, mapping: str) -> None:
    with closing(full.source(mapping)) as source:
        _, cursor = read_all(source)
        assert any("FROM" in statement for statement in _statements(source, cursor))


def test_a_read_that_did_not_come_to_the_end_goes_on(full: Log) -> None:
    with closing(full.source(JOBS_MAPPING)) as source:
        batch = source.read(source.start(NOW).cursor, NOW, limit=1)
        assert keys(source.read(batch.cursor, NOW, limit=1).records) == ["2"]


def test_what_was_given_and_not_kept_is_given_again_after_a_clock_was_set_back(full: Log) -> None:
    """Its row lies before the window, so the cursor does not say that it was given."""
    with closing(full.source(BY_TIME)) as source:
        _, cursor = read_all(source)
        full.add("jobs", [(3, "r3", "failed", "no", "2026-11-24 18:59:59")])
        back = NOW - timedelta(hours=2)
        given, again = source.read(cursor, back), source.read(cursor, back)
        assert (keys(given.records), given.cursor) == (["3"], cursor)
        assert keys(again.records) == ["3"]


def _statements(source: Source, cursor: Cursor) -> list[str]:
    """What a read asks the database."""
    statements: list[str] = []
    session = source._open
    assert session is not None
    connection = session.database._connection  # type: ignore[attr-defined]
    connection.set_trace_callback(statements.append)
    batch = source.read(cursor, NOW)
    connection.set_trace_callback(None)
    assert (batch.records, batch.at_end, batch.cursor) == ([], True, cursor)
    return statements
