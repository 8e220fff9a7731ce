"""What is MariaDB's and MySQL's own: how a table is found."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from notifyd.sources import SourceError, mysql
from notifyd.sources.mysql import MysqlDatabase
from tests.sources.logs import NOW, keys, read_all
from tests.sources.servers import MARIADB, Server
from tests.sources.workload import create, source_of


def test_connecting_opens_the_tables_of_no_other_database(mariadb: Server) -> None:
    """A server may have thousands of them, and others may be changing theirs."""
    database = MysqlDatabase(mariadb.url)
    for sql in (mysql._TABLES, mysql._SERIALS):
        plan = database.read(f"EXPLAIN {sql}", {"schema": "log", "table": "jobs"}, list)
        assert [step for step in plan if "Scanned all databases" in step[-1]] == []
    database.close()


def test_a_table_of_another_database_is_found_by_its_full_name(mariadb: Server, tmp_path: Path) -> None:
    create(mariadb)
    mariadb.run("INSERT INTO jobs (name, state) VALUES ('one', 'failed')")
    schema = mariadb.url.rpartition("/")[2]
    source = source_of(Server("mysql", f"{MARIADB}/mysql", "", ""), tmp_path)
    for table in (f"{schema}.jobs", f"{schema}.JOBS"):
        source.settings = source.settings.model_copy(update={"table": table})
        assert keys(read_all(source)[0]) == ["1"]
        source.close()
    source.settings = source.settings.model_copy(update={"table": "jobs"})
    with pytest.raises(SourceError, match='no table "jobs" in the database'):
        source.read(source.start(NOW).cursor, NOW)
    source.close()


@pytest.mark.parametrize("cursor", ["timestamp", "auto"])
def test_keys_that_are_bytes_are_told_apart_and_found(mariadb: Server, tmp_path: Path, cursor: str) -> None:
    """As text most of 200 random UUIDs would be the same."""
    mariadb.run(
        "CREATE TABLE jobs (id binary(16) PRIMARY KEY, name varbinary(40), writer varchar(20), state varchar(20),"
        " error text, changed datetime(6), KEY (changed))",
        "INSERT INTO jobs SELECT unhex(md5(seq)), concat('é', seq), 'w', 'failed', 'no', '2026-11-24 20:00:00'"
        " FROM seq_1_to_200",
    )
    source = source_of(mariadb, tmp_path, more=f'cursor = "{cursor}"')
    records = read_all(source)[0]
    assert {record.key: record.run_id for record in records} == {
        hashlib.md5(str(n).encode()).hexdigest(): f"é{n}" for n in range(1, 201)
    }
    wanted = [record.key for record in records[:50]]
    assert sorted(source.look_up(wanted, NOW)) == sorted(wanted)
    assert [one.run_id for one in source.find("é7", NOW)] == ["é7"]
    source.close()
