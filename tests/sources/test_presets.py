"""EasySale's two tables, as they really are."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifyd.model import Record, Status
from notifyd.sources import Source
from tests.sources.logs import NOW, SYNC_LOGS, SYNC_STATE, Log, keys, read_all, read_once

RUN = str(uuid.UUID(int=7))


@pytest.fixture
def easysale(tmp_path: Path) -> Log:
    return Log(tmp_path / "easysale.db", SYNC_LOGS, SYNC_STATE)


def _entry(number: int, result: str = "error", **changes: object) -> dict[str, object]:
    """A row of sync_logs; later rows have smaller ids."""
    return {
        "id": str(uuid.UUID(int=2**100 - number)),
        "tenant_id": "t1",
        "sync_id": RUN,
        "connector_id": "quickbooks",
        "entity_type": "orders",
        "entity_id": f"order-{number}",
        "operation": "create",
        "result": result,
        "level": "error",
        "message": "401: Invalid QuickBooks credentials or expired token",
        "duration_ms": 41,
        "created_at": "2026-11-24T21:00:00.123456789+00:00",
        **changes,
    }


def _run(store: str, status: str | None = "failed", **changes: object) -> dict[str, object]:
    """A row of sync_state."""
    return {
        "store_id": store,
        "last_sync_at": "2026-11-24 20:00:00",
        "tenant_id": "t1",
        "connector_id": "quickbooks",
        "sync_mode": "full",
        "status": status,
        "records_failed": 2,
        "started_at": "2026-11-24T20:00:00+00:00",
        **changes,
    }


# -- easysale ----------------------------------------------------------------------------------------


@pytest.fixture
def logs(easysale: Log) -> Iterator[Source]:
    source = easysale.source('preset = "easysale"\nstart = "beginning"\n')
    yield source
    source.close()


def test_a_record_of_easysale(easysale: Log, logs: Source) -> None:
    easysale.add("sync_logs", [_entry(1)])
    (record,) = read_once(logs).records
    assert record == Record(
        key=str(uuid.UUID(int=2**100 - 1)),
        run_id=RUN,
        schedule_id=None,
        connector_id="quickbooks",
        entity_type="orders",
        tenant_id="t1",
        status=Status.FAILURE,
        error_type=None,
        error_code=None,
        message="401: Invalid QuickBooks credentials or expired token",
        occurred_at=NOW.replace(microsecond=123456),
        started_at=None,
        finished_at=None,
        heartbeat_at=None,
        details={"sync_id": RUN, "entity_id": "order-1", "operation": "create", "duration_ms": "41"},
        read_at=NOW,
    )
    assert logs.settings.rows == "records"


def test_the_results_of_easysale(easysale: Log, logs: Source) -> None:
    easysale.add("sync_logs", [_entry(n, result) for n, result in enumerate(["success", "warning", "error", "oops"])])
    statuses = [record.status for record in read_once(logs).records]
    assert statuses == [Status.SUCCESS, Status.WARNING, Status.FAILURE, Status.UNMAPPED]


def test_both_formats_of_created_at_are_the_same_time(easysale: Log, logs: Source) -> None:
    easysale.add("sync_logs", [_entry(1, created_at="2026-11-24 21:00:00")])
    easysale.add("sync_logs", [_entry(2, created_at="2026-11-24T21:00:00+00:00")])
    assert [record.occurred_at for record in read_once(logs).records] == [NOW, NOW]


def test_ids_that_do_not_sort_are_read_in_the_order_of_writing(easysale: Log, logs: Source) -> None:
    easysale.add("sync_logs", [_entry(number) for number in range(50)])
    records, cursor = read_all(logs, limit=7)
    assert [record.details["entity_id"] for record in records] == [f"order-{number}" for number in range(50)]
    easysale.add("sync_logs", [_entry(50)])
    assert len(read_all(logs, cursor)[0]) == 1
    assert keys(logs.find(RUN, NOW)) == [*keys(records)[1:], str(uuid.UUID(int=2**100 - 50))]


def test_what_easysale_does_not_mask_is_not_read(easysale: Log, logs: Source) -> None:
    easysale.add("sync_logs", [_entry(1, error_details="jane@example.com", metadata='{"card": "4111"}')])
    ((raw, record),) = logs.newest(1, NOW)
    assert "jane" not in f"{raw} {record}"
    assert "4111" not in f"{raw} {record}"


# -- easysale-runs -----------------------------------------------------------------------------------


@pytest.fixture
def runs(easysale: Log) -> Iterator[Source]:
    source = easysale.source('preset = "easysale-runs"\nstart = "beginning"\n')
    yield source
    source.close()


def test_a_failed_run_of_easysale_tells_its_first_error(easysale: Log, runs: Source) -> None:
    easysale.add("sync_state", [_run("s1", id=RUN, completed_at="2026-11-24T21:00:00+00:00")])
    easysale.add("sync_logs", [_entry(1, "success", message="fine"), _entry(2, entity_type="customers"), _entry(3)])
    (record,) = read_once(runs).records
    assert record == Record(
        key="s1",
        run_id=RUN,
        schedule_id="t1/quickbooks",
        connector_id="quickbooks",
        entity_type="customers",
        tenant_id="t1",
        status=Status.FAILURE,
        error_type=None,
        error_code=None,
        message="401: Invalid QuickBooks credentials or expired token",
        occurred_at=None,
        started_at=NOW.replace(hour=20),
        finished_at=NOW,
        heartbeat_at=None,
        details={"sync_id": RUN, "sync_mode": "full", "records_failed": "2"},
        read_at=NOW,
    )
    assert runs.settings.rows == "runs"


@pytest.mark.parametrize("row", [{"store_id": RUN}, {"store_id": "s1", "id": RUN}, {"store_id": RUN, "id": "other"}])
def test_the_run_may_be_called_by_either_id(easysale: Log, runs: Source, row: dict[str, object]) -> None:
    easysale.add("sync_state", [{**_run(""), **row}])
    easysale.add("sync_logs", [_entry(1)])
    (record,) = read_once(runs).records
    assert record.message == "401: Invalid QuickBooks credentials or expired token"
    assert record.run_id == record.details["sync_id"] == row.get("id", RUN)


def test_the_statuses_of_easysale_runs(easysale: Log, runs: Source) -> None:
    expected = {
        "pending": Status.RUNNING,
        "running": Status.RUNNING,
        "completed": Status.SUCCESS,
        "partial": Status.FAILURE,
        "failed": Status.FAILURE,
        "cancelled": Status.IGNORED,
        None: Status.UNMAPPED,
    }
    easysale.add("sync_state", [_run(f"s{n}", status) for n, status in enumerate(expected)])
    assert [record.status for record in read_once(runs).records] == list(expected.values())


def test_a_run_is_followed_from_pending_to_its_end(easysale: Log) -> None:
    easysale.add("sync_state", [_run("s1", "pending", id=RUN), _run("s2", "completed")])
    source = easysale.source('preset = "easysale-runs"\n')
    start = source.start(NOW)
    assert [(record.key, record.status) for record in start.records] == [("s1", Status.RUNNING)]
    easysale.add("sync_logs", [_entry(1)])
    easysale.run("UPDATE sync_state SET status = 'failed', updated_at = '2026-11-24 21:00:00' WHERE store_id = 's1'")
    assert read_all(source, start.cursor)[0] == [], "the cursor has passed it"
    ended = source.look_up(["s1"], NOW)["s1"]
    assert (ended.status, ended.occurred_at) == (Status.FAILURE, NOW)
    assert ended.message == "401: Invalid QuickBooks credentials or expired token"
    assert ended.schedule_id == start.records[0].schedule_id, "failures stay in the schedule of the successes"


def test_a_run_without_a_connector_has_a_schedule_still(easysale: Log, runs: Source) -> None:
    easysale.add("sync_state", [_run("s1", tenant_id=None, connector_id=None)])
    easysale.add("sync_logs", [_entry(1, sync_id="s1")])
    (record,) = read_once(runs).records
    assert (record.schedule_id, record.tenant_id, record.connector_id) == ("-/-", None, None)


def test_new_runs_are_found_without_reading_the_old_ones(easysale: Log, runs: Source) -> None:
    easysale.add("sync_state", [_run(f"s{number}", "completed") for number in range(1_200)])
    records, cursor = read_all(runs)
    assert len(records) == 1_200
    easysale.add("sync_state", [_run("new")])
    assert keys(read_all(runs, cursor)[0]) == ["new"]


# -- others --------------------------------------------------------------------------------------------

DAG_RUN = """
CREATE TABLE dag_run (id INTEGER PRIMARY KEY, dag_id TEXT, run_id TEXT, state TEXT, run_type TEXT,
                      start_date TEXT, end_date TEXT)
"""
TASK_INSTANCE = """
CREATE TABLE task_instance (task_id TEXT, dag_id TEXT, run_id TEXT, state TEXT, operator TEXT,
                            try_number INTEGER, end_date TEXT)
"""
MELTANO_RUNS = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, job_name TEXT, run_id TEXT, state TEXT, started_at TEXT,
                   last_heartbeat_at TEXT, ended_at TEXT, payload TEXT, payload_flags INTEGER, "trigger" TEXT)
"""


def test_a_failed_dag_run_names_the_task_that_failed(tmp_path: Path) -> None:
    log = Log(tmp_path / "airflow.db", DAG_RUN, TASK_INSTANCE)
    dates = ("2026-11-24 20:00:00.000000", "2026-11-24 20:05:00.000000")
    log.add(
        "dag_run",
        [(1, "orders", "r", "failed", "scheduled", *dates), (2, "orders", "s", "queued", "manual", None, None)],
    )
    log.add(
        "task_instance",
        [
            ("load", "orders", "r", "failed", "PythonOperator", 3, dates[1]),
            ("load", "other", "r", "failed", "X", 1, dates[0]),
        ],
    )
    failed, queued = read_once(log.source('preset = "airflow-dagrun"\nstart = "beginning"\n')).records
    assert (failed.status, failed.message, failed.schedule_id) == (Status.FAILURE, "task load failed", "orders")
    assert failed.details == {"run_id": "r", "run_type": "scheduled", "operator": "PythonOperator", "tries": "3"}
    assert queued.status is Status.RUNNING


def test_a_failed_meltano_run_says_what_went_wrong(tmp_path: Path) -> None:
    log = Log(tmp_path / "meltano.db", MELTANO_RUNS)
    times = ("2026-11-24 20:00:00", "2026-11-24 20:00:59", "2026-11-24 20:01:00")
    log.add("runs", [(1, "tap-to-target", RUN.replace("-", ""), "FAIL", *times, '{"error": "`tap` failed"}', 0, None)])
    (failed,) = read_once(log.source('preset = "meltano"\nstart = "beginning"\n')).records
    assert (failed.status, failed.message, failed.finished_at) == (
        Status.FAILURE,
        "`tap` failed",
        NOW.replace(hour=20, minute=1),
    )
