"""What may be long is cut by the server, so that a batch has its bounds in memory."""

from __future__ import annotations

from pathlib import Path

from notifyd.settings.columns import Column
from notifyd.sources.session import connect
from tests.sources.logs import JOBS_MAPPING, Log, read_all, read_once
from tests.sources.servers import Server
from tests.sources.workload import create, source_of

LONG = {
    "postgresql": ("text", "varchar", "json", "jsonb"),
    "mysql": ("longtext", "longblob", "mediumtext", "json"),
}


def test_a_long_detail_is_cut_by_the_server_and_a_number_is_not(server: Server, tmp_path: Path) -> None:
    create(server)
    long = LONG[server.kind]
    columns = ", ".join(f"ADD COLUMN long{n} {kind}" for n, kind in enumerate(long))
    values = dict.fromkeys(long, "repeat('é', 100000)")
    values |= dict.fromkeys(("json", "jsonb"), "concat('\"', repeat('é', 100000), '\"')")
    cast = [f"CAST({values[kind]} AS {kind})" if server.kind == "postgresql" else values[kind] for kind in long]
    server.run(
        f"ALTER TABLE jobs ADD COLUMN amount numeric(9, 2), {columns}",
        f"INSERT INTO jobs SELECT 1, 'one', 'w', 'failed', 'no', '2026-11-24 20:00:00', 1.50, {', '.join(cast)}",
    )
    names = ["amount", *(f"long{n}" for n in range(len(long)))]
    source = source_of(server, tmp_path, more="")
    columns_of = source.settings.columns.model_copy(update={"details": {name: Column(name) for name in names}})
    source.settings = source.settings.model_copy(update={"columns": columns_of})
    (record,), _ = read_all(source)
    assert record.details["amount"] == "1.50"
    assert {len(record.details[name]) for name in names[1:]} == {500}
    session = connect(source.settings, 5.0)
    (row,) = session.log.newest(session.strategy.order, 1)
    assert all(len(value) <= 2_000 for value in row if isinstance(value, str | bytes))
    session.database.close()
    source.close()


def test_rows_with_documents_are_read_in_smaller_batches(jobs: Log) -> None:
    mapping = JOBS_MAPPING.replace('message = "error"', 'message = { column = "error", json = "text" }')
    jobs.add("jobs", [(None, "r", "failed", '{"text": "boom"}', None)] * 501)
    source = jobs.source(mapping)
    batch = read_once(source)
    assert (batch.rows, batch.at_end) == (500, False)
    assert len(read_all(source)[0]) == 501
    source.close()
