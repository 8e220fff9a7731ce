"""Keys are given before their rows are committed: what is skipped is waited for, and only as long as it may come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from notifyd.sources import Source, SourceError
from notifyd.sources.gaps import MOST_RANGES, gap_of
from tests.sources.logs import NOW, keys, read_all
from tests.sources.servers import Server
from tests.sources.workload import create, source_of

INSERT = "INSERT INTO jobs (name, writer, state, changed) VALUES (%s, 'w', 'failed', '2026-11-24 20:00:00')"
HORIZON = timedelta(seconds=30)


@pytest.fixture
def source(server: Server, tmp_path: Path) -> Iterator[Source]:
    create(server)
    source = source_of(server, tmp_path, more='gap_horizon = "30s"')
    yield source
    source.close()


class Writer:
    """A transaction of the sync system."""

    def __init__(self, server: Server) -> None:
        self.connection: Any = server.connect()
        self.cursor = self.connection.cursor()

    def insert(self, *names: str) -> Writer:
        for name in names:
            self.cursor.execute(INSERT, (name,))
        return self

    def commit(self) -> None:
        self.connection.commit()
        self.connection.close()

    def rollback(self) -> None:
        self.connection.rollback()
        self.connection.close()


def written(server: Server, *names: str) -> None:
    Writer(server).insert(*names).commit()


def gaps(cursor: str) -> list[list[int]]:
    return [list(ranges) for gap in json.loads(cursor).get("gaps", []) for ranges in gap_of(gap).ranges]


def test_a_row_that_is_committed_late_is_read(server: Server, source: Source) -> None:
    slow = Writer(server).insert("one")
    written(server, "two")
    records, cursor = read_all(source)
    assert (keys(records), gaps(cursor)) == (["2"], [[1, 1]])
    assert read_all(source, cursor) == ([], cursor), "an idle poll changes nothing"
    assert source.passed(cursor, "2")
    slow.commit()
    assert source.passed(cursor, "1") is False
    records, cursor = read_all(source, cursor)
    assert (keys(records), gaps(cursor)) == (["1"], [])
    assert read_all(source, cursor) == ([], cursor)


def test_it_is_read_by_another_process_too(server: Server, source: Source, tmp_path: Path) -> None:
    slow = Writer(server).insert("one")
    written(server, "two")
    _, cursor = read_all(source)
    source.close()
    slow.commit()
    other = source_of(server, tmp_path)
    assert keys(read_all(other, cursor)[0]) == ["1"]
    other.close()


def test_writers_that_end_one_by_one_are_read_one_by_one(server: Server, source: Source) -> None:
    first, second = Writer(server).insert("1"), Writer(server).insert("2", "3")
    first.insert("4")
    written(server, "5")
    records, cursor = read_all(source)
    assert (keys(records), gaps(cursor)) == (["5"], [[1, 4]])
    second.commit()
    records, cursor = read_all(source, cursor)
    assert (keys(records), gaps(cursor)) == (["2", "3"], [[1, 1], [4, 4]])
    first.commit()
    records, cursor = read_all(source, cursor)
    assert (keys(records), gaps(cursor)) == (["1", "4"], [])


def test_a_long_transaction_may_take_hours(server: Server, source: Source) -> None:
    slow = Writer(server).insert("one")
    written(server, "two")
    cursor, now = source.read(source.start(NOW).cursor, NOW).cursor, NOW
    for _ in range(20):
        now += timedelta(minutes=10)
        cursor = source.read(cursor, now).cursor
    assert gaps(cursor) == [[1, 1]]
    slow.commit()
    # InnoDB's list of transactions may be a little old, so that it is the next poll that finds it.
    assert keys(source.read(cursor, now + timedelta(minutes=1)).records) == ["1"]


def test_rows_written_while_it_starts_are_not_behind_it(server: Server, tmp_path: Path) -> None:
    create(server)
    written(server, "one", "two")
    slow = Writer(server).insert("three")
    written(server, "four")
    source = source_of(server, tmp_path)
    source.settings = source.settings.model_copy(update={"start": "now"})
    cursor = source.start(NOW).cursor
    assert read_all(source, cursor)[0] == []
    slow.commit()
    assert keys(read_all(source, cursor)[0]) == ["3"]
    source.close()


def test_a_gap_that_fills_with_more_than_a_batch_is_read_in_batches(server: Server, source: Source) -> None:
    slow = Writer(server).insert(*map(str, range(1, 26)))
    written(server, "last")
    _, cursor = read_all(source)
    slow.commit()
    sizes, found = [], []
    while True:
        batch = source.read(cursor, NOW, limit=10)
        cursor = batch.cursor
        sizes.append(batch.rows)
        found += keys(batch.records)
        if batch.at_end:
            break
    assert sizes == [10, 10, 5]
    assert found == [str(number) for number in range(1, 26)]


def test_the_newest_rows_may_be_deleted(server: Server, source: Source) -> None:
    written(server, "one", "two", "three")
    _, cursor = read_all(source)
    server.run("DELETE FROM jobs WHERE id > 1")
    batch = source.read(cursor, NOW)
    assert (batch.rows, batch.epoch, batch.notes) == (0, 0, ())
    written(server, "four")
    assert keys(read_all(source, batch.cursor)[0]) == ["4"], "and nothing is read twice"


def emptied(server: Server) -> str:
    return "TRUNCATE jobs RESTART IDENTITY" if server.kind == "postgresql" else "TRUNCATE jobs"


def test_an_emptied_log_whose_numbers_begin_again_is_read_again(server: Server, source: Source) -> None:
    written(server, *(f"old {number}" for number in range(1, 10)))
    _, cursor = read_all(source)
    server.run(emptied(server))
    cursor = source.read(cursor, NOW).cursor
    written(server, "four")
    again = source.read(cursor, NOW)
    assert (again.epoch, again.at_end) == (1, False)
    assert again.notes == ('the numbers of the log come again behind column "id" 9; it is read on behind 0',)
    assert keys(read_all(source, again.cursor)[0]) == ["1"]


@pytest.mark.parametrize(("before", "after"), [(10, 12), (10, 10), (10, 5), (50, 12)])
def test_a_log_that_was_emptied_and_filled_between_two_reads_is_read_again(
    server: Server, source: Source, before: int, after: int
) -> None:
    written(server, *(f"old {number}" for number in range(before)))
    _, cursor = read_all(source)
    server.run(emptied(server))
    written(server, *(f"new {number}" for number in range(after)))
    server.run("UPDATE jobs SET changed = '2026-11-24 20:00:01'")
    records, cursor = read_all(source, cursor)
    assert [record.run_id for record in records] == [f"new {number}" for number in range(after)]
    assert read_all(source, cursor) == ([], cursor)


def test_rows_of_which_some_are_as_they_were_are_the_same_log(server: Server, source: Source) -> None:
    written(server, "one", "two", "three")
    _, cursor = read_all(source)
    server.run("UPDATE jobs SET name = concat(name, ' again') WHERE id > 1")
    batch = source.read(cursor, NOW)
    assert (batch.epoch, batch.notes, batch.records) == (0, (), [])
    server.run("UPDATE jobs SET name = 'one again' WHERE id = 1")
    assert source.read(batch.cursor, NOW).epoch == 0, "what each read has seen counts, not what the first one did"


def test_a_time_that_is_touched_while_rows_run_makes_them_no_others(server: Server, tmp_path: Path) -> None:
    create(server)
    source = source_of(server, tmp_path)
    beats = {"occurred_at": source.settings.columns.updated_at, "heartbeat_at": source.settings.columns.updated_at}
    columns = source.settings.columns.model_copy(update={"run_id": None, **beats})
    source.settings = source.settings.model_copy(update={"columns": columns})
    written(server, "one", "two")
    _, cursor = read_all(source)
    server.run("UPDATE jobs SET changed = '2026-11-24 20:00:30'")
    batch = source.read(cursor, NOW)
    assert (batch.epoch, batch.notes) == (0, ())
    source.close()


# -- what the database shows of its writers ------------------------------------------------------------


def test_postgres_closes_what_was_rolled_back_at_once(postgres: Server, tmp_path: Path) -> None:
    create(postgres)
    source = source_of(postgres, tmp_path)
    failed, slow = Writer(postgres).insert("one"), Writer(postgres).insert("two")
    written(postgres, "three")
    _, cursor = read_all(source)
    failed.rollback()
    _, cursor = read_all(source, cursor)
    assert gaps(cursor) == [[1, 2]], "the other one still may bring either"
    slow.commit()
    records, cursor = read_all(source, cursor)
    assert (keys(records), gaps(cursor)) == (["2"], [])
    source.close()


def test_a_writer_that_began_in_an_aborted_part_is_waited_for(postgres: Server, tmp_path: Path) -> None:
    """The lock on the sequence outlives the savepoint in which it was taken."""
    create(postgres)
    source = source_of(postgres, tmp_path)
    slow = Writer(postgres)
    slow.cursor.execute("SAVEPOINT part")
    slow.cursor.execute("SELECT nextval('jobs_id_seq')")
    slow.cursor.execute("ROLLBACK TO part")
    written(postgres, "two")
    _, cursor = read_all(source)
    assert gaps(cursor) == [[1, 1]]
    slow.rollback()
    assert gaps(read_all(source, cursor)[1]) == []
    source.close()


def test_a_key_that_was_taken_before_the_row_is_written_is_waited_for(postgres: Server, tmp_path: Path) -> None:
    """nextval runs before the transaction has an xid, so that xmin would close the gap too early."""
    create(postgres)
    source = source_of(postgres, tmp_path)
    slow = Writer(postgres)
    slow.cursor.execute("SELECT nextval('jobs_id_seq')")
    written(postgres, "two")
    _, cursor = read_all(source)
    slow.cursor.execute("INSERT INTO jobs (id, name, state) VALUES (1, 'one', 'failed')")
    slow.commit()
    assert keys(read_all(source, cursor)[0]) == ["1"]
    source.close()


def test_keys_that_a_sequence_keeps_in_stock_are_waited_for_by_time(postgres: Server, tmp_path: Path) -> None:
    create(postgres)
    postgres.run("ALTER SEQUENCE jobs_id_seq CACHE 10")
    source = source_of(postgres, tmp_path, more='gap_horizon = "30s"')
    with closing(postgres.connect(autocommit=True)) as session:
        session.execute(INSERT, ("one",))  # and keeps 2 to 10
        written(postgres, "eleven")
        cursor, now = source.read(source.start(NOW).cursor, NOW).cursor, NOW
        assert gaps(cursor) == [[2, 10]]
        session.execute(INSERT, ("two",))
    now += timedelta(seconds=10)
    batch = source.read(cursor, now)
    assert (keys(batch.records), gaps(batch.cursor)) == (["2"], [[3, 10]])
    assert gaps(source.read(batch.cursor, now + HORIZON).cursor) == []
    source.close()


def test_a_jump_of_the_clock_closes_no_gap(mariadb: Server, tmp_path: Path) -> None:
    create(mariadb)
    source = source_of(mariadb, tmp_path, more='gap_horizon = "5m"')
    Writer(mariadb).insert("one").rollback()
    written(mariadb, "two")
    cursor = source.read(source.start(NOW).cursor, NOW).cursor
    for jump in (timedelta(days=1), timedelta(days=-1), timedelta(days=2)):
        cursor = source.read(cursor, NOW + jump).cursor
        assert gaps(cursor) == [[1, 1]]
    mariadb.run("INSERT INTO jobs (id, name, state) VALUES (1, 'one', 'failed')")
    assert keys(source.read(cursor, NOW + timedelta(days=2, minutes=1)).records) == ["1"]
    source.close()


def test_without_process_there_is_the_horizon(mariadb: Server, tmp_path: Path) -> None:
    create(mariadb)
    schema = mariadb.url.rpartition("/")[2]
    mariadb.run(f"CREATE USER {schema}", f"GRANT SELECT ON {schema}.* TO {schema}")
    try:
        poor = Server("mysql", mariadb.url.replace("root", schema), mariadb.key, mariadb.times)
        source = source_of(poor, tmp_path, more='gap_horizon = "30s"')
        slow = Writer(mariadb).insert("one")
        written(mariadb, "two")
        cursor = source.read(source.start(NOW).cursor, NOW).cursor
        cursor = source.read(cursor, NOW + timedelta(seconds=29)).cursor
        assert gaps(cursor) == [[1, 1]]
        slow.commit()
        assert keys(source.read(cursor, NOW + timedelta(seconds=31)).records) == ["1"]
        source.close()
    finally:
        mariadb.run(f"DROP USER {schema}")


def test_a_log_with_too_many_gaps_says_so(mariadb: Server, tmp_path: Path) -> None:
    create(mariadb)
    with closing(mariadb.connect()) as writer, writer.cursor() as cursor:
        rows = [(2 * number, str(number)) for number in range(1, MOST_RANGES + 11)]
        cursor.executemany("INSERT INTO jobs (id, name, state) VALUES (%s, %s, 'failed')", rows)
        writer.commit()
    source = source_of(mariadb, tmp_path)
    position, notes = source.start(NOW).cursor, []
    for _ in range(6):
        batch = source.read(position, NOW)
        position, notes = batch.cursor, [*notes, *batch.notes]
    (said,) = notes
    assert said.startswith('column "id" skips too many numbers: the oldest 10 gaps are not waited for any more')
    with closing(mariadb.connect()) as writer, writer.cursor() as cursor:
        cursor.execute("INSERT INTO jobs (id, name, state) VALUES (100000, 'late', 'failed')")
        writer.commit()
    again = source.read(position, NOW)
    assert (keys(again.records), again.notes) == (["100000"], ()), "once is enough"
    assert len(gaps(position)) == MOST_RANGES
    source.close()


@pytest.mark.parametrize(("apart", "told"), [(5_000, True), (7, False)])
def test_numbers_that_are_far_apart_are_told_of(server: Server, tmp_path: Path, apart: int, told: bool) -> None:
    create(server)
    with closing(server.connect()) as writer, writer.cursor() as cursor:
        rows = [(apart * number, str(number)) for number in range(1, 101)]
        cursor.executemany("INSERT INTO jobs (id, name, state) VALUES (%s, %s, 'ok')", rows)
        writer.commit()
    source = source_of(server, tmp_path)
    assert ("its numbers are far apart" in source.about(None, NOW).text) is told
    source.close()


# -- how it behaves beside others ------------------------------------------------------------------------


def test_nobody_waits_for_the_reader(server: Server, source: Source) -> None:
    """No lock and no snapshot outlives a read: even DROP gets its turn at once."""
    written(server, "one")
    read_all(source)
    server.run("ALTER TABLE jobs ADD COLUMN more text", "DROP TABLE jobs")
    with pytest.raises(SourceError):
        source.read(source.start(NOW).cursor, NOW)


def test_the_session_only_reads_and_says_who_it_is(server: Server, source: Source) -> None:
    written(server, "one")
    read_all(source)
    session = source._open
    assert session is not None
    with pytest.raises(SourceError, match=r"(?i)read.?only"):
        session.database.read("DELETE FROM jobs", {}, list)
    names = {
        "postgresql": "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        "mysql": "SELECT @@session.autocommit",
    }
    assert session.database.read(names[server.kind], {}, list) in ([("notifyd",)], [(1,)])


def test_a_connection_that_was_killed_is_opened_again(server: Server, source: Source) -> None:
    written(server, "one")
    _, cursor = read_all(source)
    _kill_readers(server)
    with pytest.raises(SourceError, match=r'^source "shop": '):
        source.read(cursor, NOW)
    written(server, "two")
    assert keys(read_all(source, cursor)[0]) == ["2"]


def _kill_readers(server: Server) -> None:
    if server.kind == "postgresql":
        server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'notifyd'")
        return
    schema = server.url.rpartition("/")[2]
    with closing(server.connect(autocommit=True)) as admin, admin.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> connection_id()", (schema,)
        )
        for (number,) in cursor.fetchall():
            cursor.execute(f"KILL {number}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("/log_", "/nolog_"), "(?i)database .*(does not exist|unknown|denied)|unknown database"),
        (("postgres:@", "nobody:s3cret@"), 'role "nobody" does not exist'),
        (("root@127.0.0.1:3306", "root:s3cret@127.0.0.1:3306"), "Access denied"),
        (("127.0.0.1:3306", "127.0.0.1:1"), "(?i)can't connect"),
    ],
)
def test_what_is_wrong_is_one_line_without_a_secret(
    server: Server, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    url = server.url.replace(*change)
    if url == server.url:
        pytest.skip("not of this kind of server")
    with pytest.raises(SourceError, match=said) as caught:
        source_of(Server(server.kind, url, server.key, server.times), tmp_path).start(NOW)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there_yet_is_waited_for(server: Server, tmp_path: Path) -> None:
    source = source_of(server, tmp_path)
    cursor = source.start(NOW).cursor
    with pytest.raises(SourceError, match='no table "jobs" in the database'):
        source.read(cursor, NOW)
    create(server)
    written(server, "one")
    assert keys(read_all(source, cursor)[0]) == ["1"]
    source.close()


def test_a_revoked_permission_says_what_to_grant(postgres: Server, tmp_path: Path) -> None:
    create(postgres)
    postgres.run("DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN")
    source = source_of(Server("postgresql", postgres.url.replace("postgres:@", "reader@"), "", ""), tmp_path)
    with pytest.raises(SourceError, match="permission denied for table jobs: let notifyd's role read it"):
        source.start(NOW)
    postgres.run("GRANT SELECT ON jobs TO reader")
    written(postgres, "one")
    assert keys(read_all(source)[0]) == ["1"]
    source.close()
    postgres.run("DROP OWNED BY reader", "DROP ROLE reader")


def test_the_driver_loads_no_value_that_python_has_not(postgres: Server, tmp_path: Path) -> None:
    create(postgres)
    with psycopg.connect(postgres.url, autocommit=True) as writer:
        writer.execute("INSERT INTO jobs (name, state, changed) VALUES ('a', 'failed', 'infinity')")
        writer.execute("INSERT INTO jobs (name, state, changed) VALUES ('b', 'failed', '20000-01-01')")
        writer.execute("INSERT INTO jobs (name, state, changed) VALUES ('c', 'failed', '2026-11-24 12:00+02')")
    source = source_of(postgres, tmp_path)
    assert [record.occurred_at for record in read_all(source)[0]] == [None, None, NOW.replace(hour=10)]
    source.close()


def test_a_zero_date_is_unset(mariadb: Server, tmp_path: Path) -> None:
    create(mariadb)
    mariadb.run("SET sql_mode = ''")
    with closing(mariadb.connect(autocommit=True)) as writer, writer.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute("INSERT INTO jobs (name, state, changed) VALUES ('a', 'failed', '0000-00-00')")
    source = source_of(mariadb, tmp_path)
    assert [record.occurred_at for record in read_all(source)[0]] == [None]
    source.close()


@pytest.mark.parametrize("key", ["1", "01", "1.0", "x", "é", "9" * 30, "1 OR 1=1", "%s", "\0"])
def test_keys_are_found_as_the_texts_that_they_are(server: Server, source: Source, key: str) -> None:
    written(server, "one")
    assert list(source.look_up([key], NOW)) == (["1"] if key == "1" else [])
    assert keys(source.find(key, NOW)) == (["1"] if key == "1" else [])
