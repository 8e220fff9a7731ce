"""Rows that change after they were read, beside a cursor that gives each row once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from notifyd.model import Record, Status
from notifyd.sources import Cursor, Source
from tests.sources import servers
from tests.sources.logs import NOW, Log, keys, read_all
from tests.sources.servers import Server
from tests.sources.workload import create, source_of

TABLE = "CREATE TABLE jobs (id INTEGER PRIMARY KEY, state TEXT, at TEXT)"
MAPPING = """
table = "jobs"
start = "{start}"
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


def source_from(log: Log, start: str) -> Source:
    return log.source(MAPPING.format(start=start))


@pytest.fixture
def source(log: Log) -> Iterator[Source]:
    source = source_from(log, "beginning")
    yield source
    source.close()


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")


def states(records: list[Record]) -> list[tuple[str, Status]]:
    return [(record.key, record.status) for record in records]


def test_a_row_that_is_run_again_in_place_is_read_in_each_state(log: Log, source: Source) -> None:
    log.add("jobs", [(1, "failed", ago(300)), (2, "ok", ago(200))])
    records, cursor = read_all(source)
    assert states(records) == [("1", Status.FAILURE), ("2", Status.SUCCESS)]
    seen = []
    for seconds, state in ((50, "running"), (40, "failed"), (30, "failed"), (20, "ok"), (10, "failed")):
        log.run(f"UPDATE jobs SET state = '{state}', at = '{ago(seconds)}' WHERE id = 1")
        more, cursor = read_all(source, cursor)
        seen += states(more)
    assert seen == [("1", status) for status in (Status.RUNNING, Status.FAILURE, Status.SUCCESS, Status.FAILURE)]
    assert source.sees_changes


def test_nothing_new_changes_nothing(log: Log, source: Source) -> None:
    log.add("jobs", [(n, "failed", ago(n)) for n in range(1, 20)])
    _, cursor = read_all(source)
    assert read_all(source, cursor) == ([], cursor)


def test_a_new_row_comes_once_whatever_its_date(log: Log, source: Source) -> None:
    read_all(source)
    _, cursor = read_all(source)
    given = []
    for n in range(1, 8):
        log.add("jobs", [(n, "failed", ago(30 if n % 2 else 3_000))])
        more, cursor = read_all(source, cursor)
        given += keys(more)
    assert given == [str(n) for n in range(1, 8)]


def test_a_catch_up_of_many_batches_gives_each_success_once(log: Log, source: Source) -> None:
    log.add("jobs", [(n, "ok", ago(10)) for n in range(1, 60)])
    records, cursor = read_all(source, limit=7)
    assert keys(records) == [str(n) for n in range(1, 60)]
    log.run(f"UPDATE jobs SET state = 'failed', at = '{ago(5)}' WHERE id IN (3, 50)")
    assert sorted(keys(read_all(source, cursor, limit=7)[0])) == ["3", "50"]


def test_what_changed_before_the_start_is_not_read(log: Log) -> None:
    log.add("jobs", [(1, "failed", ago(20)), (2, "ok", ago(10))])
    source = source_from(log, "now")
    records, cursor = read_all(source)
    assert records == []
    log.run(f"UPDATE jobs SET state = 'failed', at = '{ago(5)}' WHERE id = 2")
    assert states(read_all(source, cursor)[0]) == [("2", Status.FAILURE)]
    source.close()


def test_without_an_index_rows_are_looked_up_instead(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", TABLE)
    log.add("jobs", [(1, "failed", ago(20)), (2, "running", ago(10))])
    source = source_from(log, "now")
    assert not source.sees_changes
    assert keys(source.start(NOW).ended) == ["1"]
    about = source.about(None, NOW)
    assert about.text.endswith("a row that is run again in place is seen within 1h of its end")
    assert any('no index on "at"' in warning for warning in about.warnings)
    source.close()


def test_where_it_is_not_watched_either_that_is_said(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", TABLE)
    source = log.source('rewatch = "0s"\n' + MAPPING.format(start="now"))
    assert source.about(None, NOW).text.endswith("a row that is run again in place is not seen")
    assert source.start(NOW).ended == []
    source.close()


@pytest.fixture(params=["postgres", "mariadb", "sqlite"])
def place(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "sqlite":
        with servers.sqlite() as server:
            yield server
    else:
        yield request.getfixturevalue(request.param)


def test_on_each_database(place: Server, tmp_path: Path) -> None:
    create(place)
    now = datetime.now(UTC)

    def moment(seconds: float) -> str:
        return (now - timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S.%f")

    place.run(
        *(f"INSERT INTO jobs (name, state, changed) VALUES ('{n}', 'failed', '{moment(30 - n)}')" for n in range(1, 4))
    )
    source = source_of(place, tmp_path)
    records, cursor = every(source, None, now)
    assert keys(records) == ["1", "2", "3"]
    for seconds, state in ((5, "running"), (3, "failed")):
        place.run(f"UPDATE jobs SET state = '{state}', changed = '{moment(seconds)}' WHERE id = 2")
        records, cursor = every(source, cursor, now)
        assert [(record.key, record.status.value[:4]) for record in records] == [("2", state.replace("ed", "")[:4])]
    assert every(source, cursor, now)[0] == []
    source.close()


def every(source: Source, cursor: Cursor | None, now: datetime) -> tuple[list[Record], Cursor]:
    """The rows up to the end of the log, as they are read at a time."""
    cursor, records, at_end = cursor or source.start(now).cursor, list[Record](), False
    while not at_end:
        batch = source.read(cursor, now)
        records, cursor, at_end = [*records, *batch.records], batch.cursor, batch.at_end
    return records, cursor
