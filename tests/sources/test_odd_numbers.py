"""Keys and times that are numbers of a kind that Python, JSON or a driver has no plain number for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sources.logs import NOW, keys, read_all
from tests.sources.servers import Server
from tests.sources.workload import source_of


def create(server: Server, key: str, changed: str) -> None:
    server.run(
        f"CREATE TABLE jobs (id {key} PRIMARY KEY, name varchar(40), writer varchar(20), state varchar(20), error text,"
        f" changed {changed} NULL)",
        "CREATE INDEX jobs_by_time ON jobs (changed)",
    )


@pytest.mark.parametrize("key", [4711, 2**53 + 1, 1234567890123456789, 2**63 - 1])
def test_a_long_key_is_found_again(server: Server, tmp_path: Path, key: int) -> None:
    """Ids that are made of the time and a machine's number have 18 digits and more."""
    create(server, "bigint", "timestamp")
    server.run(f"INSERT INTO jobs (id, name, state) VALUES ({key}, 'long', 'running')")
    source = source_of(server, tmp_path)
    assert keys(read_all(source)[0]) == [str(key)]
    assert list(source.look_up([str(key)], NOW)) == [str(key)]
    source.close()


@pytest.mark.parametrize(
    ("kind", "key"), [("numeric(40)", "1" + "0" * 38), ("numeric(10, 2)", "7.50"), ("bigint unsigned", str(2**64 - 1))]
)
def test_so_is_one_that_no_integer_of_sql_would_hold(server: Server, tmp_path: Path, kind: str, key: str) -> None:
    if "unsigned" in kind and server.kind != "mysql":
        pytest.skip("not of this kind of server")
    create(server, kind, "timestamp")
    server.run(f"INSERT INTO jobs (id, name, state, changed) VALUES ({key}, 'odd', 'running', '2026-11-24 20:00:00')")
    source = source_of(server, tmp_path, more='cursor = "timestamp"')
    assert keys(read_all(source)[0]) == [key]
    assert list(source.look_up([key], NOW)) == [key]
    assert source.look_up([f"{key}0"], NOW) == {}, "a number is found by the text that it is shown as"
    source.close()


def test_a_time_may_be_a_decimal_number(server: Server, tmp_path: Path) -> None:
    """Also where a read ends in the middle of the log: its place is kept exactly."""
    create(server, "bigint", "numeric(20, 6)")
    begin = int(NOW.timestamp()) - 600
    values = ", ".join(f"({number}, 'n', 'failed', {begin + number}.123456)" for number in range(1, 8))
    server.run(f"INSERT INTO jobs (id, name, state, changed) VALUES {values}")
    source = source_of(server, tmp_path, more='cursor = "timestamp"')
    cursor, found = source.start(NOW).cursor, []
    for _ in range(4):
        batch = source.read(cursor, NOW, 2)
        found += keys(batch.records)
        cursor = batch.cursor
    assert (found, batch.at_end) == ([str(number) for number in range(1, 8)], True)
    assert source.read(cursor, NOW).records == []
    source.close()
