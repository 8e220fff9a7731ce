"""What reading costs: never the whole log, and not much more than the driver's own loop."""

from __future__ import annotations

import gc
import sqlite3
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from notifyd.sources import Source
from notifyd.sources.session import connect
from tests.sources.logs import JOBS_MAPPING, SYNC_LOGS, SYNC_STATE, Log, read_all

EASYSALE = 'preset = "easysale"\nstart = "beginning"\n'
RUNS = 'preset = "easysale-runs"\n'
VIEW = JOBS_MAPPING.replace('"jobs"', '"v"')


@pytest.mark.parametrize("mapping", [EASYSALE, RUNS, JOBS_MAPPING, VIEW])
def test_a_read_seeks_to_where_it_goes_on(jobs: Log, mapping: str) -> None:
    jobs.run(SYNC_LOGS, SYNC_STATE, "CREATE VIEW v AS SELECT * FROM jobs")
    session = connect(jobs.settings(mapping), busy_timeout=0)
    order = session.strategy.order
    statement = session.log.statement(order, f"{order} > :at")
    session.database.close()
    with closing(sqlite3.connect(jobs.path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", {"at": 1, "limit": 1}).fetchall()
    assert [step[3].split()[0] for step in plan] == ["SEARCH"], "no scan, and no sorting"


def _successes(log: Log, count: int) -> None:
    log.add(
        "sync_logs",
        (
            {
                "id": str(uuid.UUID(int=2**100 - number)),
                "tenant_id": "t1",
                "sync_id": str(uuid.UUID(int=number // 50)),
                "connector_id": "quickbooks",
                "entity_type": "orders",
                "entity_id": str(uuid.UUID(int=number)),
                "operation": "create",
                "result": "success",
                "level": "info",
                "message": f"Synced order {number} to QuickBooks",
                "duration_ms": number % 900,
                "created_at": f"2026-11-24T20:{number // 60 % 60:02d}:{number % 60:02d}.123456789+00:00",
            }
            for number in range(count)
        ),
    )


def _bare(path: Path) -> int:
    """The driver's own loop over the same columns: the most that can be had."""
    columns = "rowid, id, sync_id, connector_id, entity_type, tenant_id, result, message, created_at, entity_id"
    query = f"SELECT {columns}, operation, duration_ms FROM sync_logs WHERE rowid > ? ORDER BY rowid LIMIT 5000"
    at = rows = 0
    with closing(sqlite3.connect(path)) as connection:
        while batch := connection.execute(query, (at,)).fetchmany(5_000):
            at, rows = batch[-1][0], rows + len(batch)
    return rows


def _best(work: Callable[[], object], rounds: int) -> float:
    """Seconds of processor time, the best of some rounds."""
    times = []
    for _ in range(rounds):
        gc.collect()
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def test_reading_takes_no_more_than_a_few_times_the_bare_loop(tmp_path: Path) -> None:
    log = Log(tmp_path / "easysale.db", SYNC_LOGS)
    _successes(log, 20_000)
    source: Source = log.source(EASYSALE)
    assert _bare(log.path) == len(read_all(source)[0]) == 20_000
    bare, ours = _best(lambda: _bare(log.path), 7), _best(lambda: read_all(source), 7)
    source.close()
    assert ours < 4 * bare, f"{20_000 / ours:,.0f} rows/s where the driver alone does {20_000 / bare:,.0f}"
