"""A system that nobody has heard of, mapped by settings alone, on each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from notifyd.model import Record, Status
from notifyd.settings import load
from notifyd.sources import Source, SourceError, open_source
from tests.sources import servers
from tests.sources.logs import NOW, read_once
from tests.sources.servers import Server

TABLE = """
CREATE TABLE task (
    no integer PRIMARY KEY, shop varchar(20), flow varchar(20), outcome varchar(20), code integer, report text
)
"""
ROWS = """
INSERT INTO task VALUES
    (1, 'north', 'orders/import', 'DONE', 0, '{}'),
    (2, 'north', 'orders/import', 'ABORT-17', 17, '{"errors": [{"text": "no stock"}]}'),
    (3, NULL, 'prices/export', 'Waiting 2', NULL, NULL)
"""
MAPPING = """
[[sources]]
name = "shop"
url = "{url}"
table = "task"
start = "beginning"
[sources.columns]
key = "no"
schedule_id = ["shop", "flow"]
connector_id = {{ sql = "{connector}" }}
status = {status}
message = {{ column = "report", json = "errors[0].text" }}
error_code = "code"
[sources.statuses]
success = ["done"]
failure = [{{ matches = "abort-\\\\d+" }}, "broken"]
retrying = [{{ matches = "waiting.*" }}]
"""
CONNECTOR = {
    "postgresql": "split_part(flow, '/', 1)",
    "mysql": "substring_index(flow, '/', 1)",
    "sqlite": "substr(flow, 1, instr(flow, '/') - 1)",
}


@pytest.fixture
def sqlite() -> Iterator[Server]:
    with servers.sqlite() as server:
        yield server


@pytest.fixture(params=["postgres", "mariadb", "sqlite"])
def place(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    server.run(TABLE, ROWS)
    return server


def _source(server: Server, folder: Path, status: str = '"outcome"', connector: str | None = None) -> Source:
    file = folder / "notifyd.toml"
    connector = connector or CONNECTOR[server.kind]
    file.write_text(MAPPING.format(url=server.url, status=status, connector=connector))
    return open_source(load(file).sources[0])


def _told(record: Record) -> tuple[object, ...]:
    return (record.key, record.schedule_id, record.connector_id, record.status, record.message, record.error_code)


def test_it_is_read_without_code(place: Server, tmp_path: Path) -> None:
    source = _source(place, tmp_path)
    assert [_told(record) for record in read_once(source).records] == [
        ("1", "north/orders/import", "orders", Status.SUCCESS, None, "0"),
        ("2", "north/orders/import", "orders", Status.FAILURE, "no stock", "17"),
        ("3", "-/prices/export", "prices", Status.RETRYING, None, None),
    ]
    assert source.raw_statuses() == {
        "DONE": (1, Status.SUCCESS),
        "ABORT-17": (1, Status.FAILURE),
        "Waiting 2": (1, Status.RETRYING),
    }
    ((raw, _),) = source.newest(1, NOW)
    assert raw["shop, flow"] == "-/prices/export"
    assert raw[CONNECTOR[place.kind]] == "prices"
    assert [record.key for record in source.find("2", NOW)] == ["2"]
    source.close()


def test_a_status_may_be_an_expression(place: Server, tmp_path: Path) -> None:
    source = _source(place, tmp_path, """{ sql = "CASE WHEN code > 0 THEN 'broken' ELSE 'done' END" }""")
    assert [record.status for record in read_once(source).records] == [Status.SUCCESS, Status.FAILURE, Status.SUCCESS]
    source.close()


def test_what_is_waiting_by_a_pattern_is_watched_from_the_start(place: Server, tmp_path: Path) -> None:
    source = _source(place, tmp_path)
    source.settings = source.settings.model_copy(update={"start": "now"})
    assert [record.key for record in source.start(NOW).records] == ["3"]
    source.close()


def test_an_expression_that_is_wrong_is_one_line(place: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r'^source "shop": .*nothing') as caught:
        read_once(_source(place, tmp_path, connector="nothing(1)"))
    assert "\n" not in str(caught.value)
