"""What `notifyd check` and `notifyd sources` can say of how a log is read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from notifyd.settings.columns import Column
from notifyd.sources import Source
from tests.sources import servers
from tests.sources.logs import JOBS, JOBS_MAPPING, NOW, Log, read_all
from tests.sources.servers import Server
from tests.sources.workload import create, source_of


@pytest.fixture
def sqlite() -> Iterator[Server]:
    with servers.sqlite() as server:
        yield server


@pytest.fixture(params=["postgres", "mariadb", "sqlite"])
def place(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    create(server)
    return server


TEXTS = {
    "postgresql": 'by column "id": a number that was skipped is waited for until the transactions that took it end',
    "mysql": 'by column "id": a number that was skipped is waited for during 10m, and for as long as a transaction is'
    " open that may have taken it",
    "sqlite": 'by column "id", held by the last rows that were read',
}


def test_a_log_with_an_index_is_read_without_a_warning(place: Server, tmp_path: Path) -> None:
    source = source_of(place, tmp_path)
    about = source.about(None, datetime.now(UTC))
    text = f"{TEXTS[place.kind]}; rows that change later are seen by changed"
    assert (about.strategy, about.text, about.gaps, about.warnings) == ("key", text, 0, ())
    assert source.sees_changes
    source.close()


def test_writers_that_cannot_be_seen_are_told_of(mariadb: Server, tmp_path: Path) -> None:
    create(mariadb)
    schema = mariadb.url.rpartition("/")[2]
    mariadb.run(f"CREATE USER {schema}", f"GRANT SELECT ON {schema}.* TO {schema}")
    source = source_of(Server("mysql", mariadb.url.replace("root", schema), "", ""), tmp_path)
    text = source.about(None, datetime.now(UTC)).text
    source.close()
    mariadb.run(f"DROP USER {schema}")
    assert text.startswith(
        'by column "id": a number that was skipped is waited for during 10m, as who may have taken it cannot be seen: '
        "its user has not the privilege PROCESS (GRANT PROCESS ON *.* TO …)"
    )


def test_a_sequence_that_gives_keys_in_advance_is_told_of(postgres: Server, tmp_path: Path) -> None:
    create(postgres)
    postgres.run("ALTER SEQUENCE jobs_id_seq CACHE 20")
    source = source_of(postgres, tmp_path)
    text = source.about(None, datetime.now(UTC)).text
    source.close()
    assert "during 10m, and for as long as a transaction is open that may have taken it" in text


def test_an_index_that_is_missing_is_named(place: Server, tmp_path: Path) -> None:
    place.run("DROP INDEX jobs_by_time ON jobs" if place.kind == "mysql" else "DROP INDEX jobs_by_time")
    source = source_of(place, tmp_path, more='cursor = "timestamp"')
    about = source.about(None, datetime.now(UTC))
    assert about.strategy == "timestamp"
    assert source.sees_changes
    (warning,) = about.warnings
    assert warning.startswith('table "jobs" has no index on')
    source.close()


def test_a_key_without_an_index_is_named(place: Server, tmp_path: Path) -> None:
    """Rows that run, and those that have just ended, are looked up by it at nearly every poll."""
    place.run("DROP INDEX jobs_by_name ON jobs" if place.kind == "mysql" else "DROP INDEX jobs_by_name")
    source = source_of(place, tmp_path, "name", 'cursor = "timestamp"')
    (warning,) = source.about(None, datetime.now(UTC)).warnings
    assert warning == 'table "jobs" has no index on name: each look at rows that run reads all of it'
    source.close()


def test_a_clock_that_differs_is_told(server: Server, tmp_path: Path) -> None:
    create(server)
    source = source_of(server, tmp_path)
    about = source.about(None, datetime.now(UTC) + timedelta(minutes=5))
    assert about.clock is not None
    assert about.clock < timedelta(minutes=-4)
    assert [warning.startswith("the clock of its database is") for warning in about.warnings] == [True]
    source.close()


def test_gaps_are_counted(postgres: Server, tmp_path: Path) -> None:
    create(postgres)
    source = source_of(postgres, tmp_path)
    slow = postgres.connect()
    for connection in (slow, postgres.connect()):
        connection.execute("INSERT INTO jobs (name, state) VALUES (gen_random_uuid(), 'failed')")
        if connection is not slow:
            connection.commit()
            connection.close()
    cursor = read_all(source)[1]
    assert source.about(cursor, datetime.now(UTC)).gaps == 1
    slow.close()
    source.close()


@pytest.mark.parametrize("end", [False, True])
def test_a_server_whose_rows_nothing_tells_apart_is_told_so_too(server: Server, tmp_path: Path, end: bool) -> None:
    create(server)
    source = source_of(server, tmp_path)
    bare = {"run_id": None, "updated_at": None, "finished_at": Column("changed") if end else None}
    columns = source.settings.columns.model_copy(update=bare)
    source.settings = source.settings.model_copy(update={"columns": columns})
    assert (UNNOTICED in source.about(None, NOW).text) is not end
    source.close()


def test_a_view_that_orders_by_nothing_is_told(tmp_path: Path) -> None:
    log = Log(
        tmp_path / "jobs.db",
        "CREATE TABLE raw (id INT, run, state, error, at)",
        "CREATE VIEW jobs AS SELECT * FROM raw",
    )
    source: Source = log.source(JOBS_MAPPING)
    assert source.about(None, NOW).warnings == ('view "jobs" has no index on "id": each poll reads all of it',)
    source.close()


UNNOTICED = (
    "if the log is emptied and filled again as far, that is not noticed: map columns.run_id, occurred_at, started_at "
    "or finished_at"
)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("", True),
        ('schedule_id = "run"', True),
        ('run_id = "run"', False),
        ('occurred_at = "at"', False),
        ('finished_at = "at"', False),
    ],
)
def test_a_log_where_nothing_tells_rows_apart_is_told_what_is_not_noticed(
    tmp_path: Path, columns: str, told: bool
) -> None:
    bare = JOBS_MAPPING.replace('run_id = "run"\n', "").replace('occurred_at = "at"\n', "")
    source: Source = Log(tmp_path / "jobs.db", JOBS).source(
        bare.replace("[sources.statuses]", f"{columns}\n[sources.statuses]")
    )
    assert (UNNOTICED in source.about(None, NOW).text) is told
    source.close()


def test_a_query_that_is_sorted_does_not_accuse_the_wrong_column(tmp_path: Path) -> None:
    """The column may well have its index: it is of no use where a join makes the order."""
    log = Log(tmp_path / "jobs.db", JOBS, "CREATE TABLE texts (job INT, text)")
    query = "SELECT jobs.* FROM texts JOIN jobs ON jobs.run = texts.job GROUP BY jobs.at, jobs.id"
    source = log.source(JOBS_MAPPING.replace('table = "jobs"', f'query = "{query}"'))
    (warning,) = source.about(None, NOW).warnings
    assert warning.startswith('the query is sorted by "id" at each poll, which reads all of it: has no index what')
    source.close()
