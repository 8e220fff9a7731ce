"""What becomes of a row: statuses, texts, times, JSON, and the rows that are set aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from notifyd.model import Record, Status
from notifyd.sources import SetAside, Source
from notifyd.sources.mapping import Labels, Statuses
from tests.sources.logs import JOBS_MAPPING, NOW, Log, read_all, read_once

FULL = """
table = "runs"
start = "beginning"
timezone = "America/Edmonton"
[sources.columns]
key = "k"
run_id = "run"
schedule_id = "schedule"
connector_id = "connector"
entity_type = "entity"
tenant_id = "tenant"
status = "state"
error_type = "kind"
error_code = "code"
message = "error"
occurred_at = "written"
started_at = "began"
finished_at = "ended"
[sources.columns.details]
host = "machine"
took = "ms"
[sources.statuses]
failure = [3]
"""


def test_every_field_comes_from_its_column(tmp_path: Path) -> None:
    log = Log(
        tmp_path / "runs.db",
        "CREATE TABLE runs (k, run, schedule, connector, entity, tenant, state, kind, code, error, written, began, "
        "ended, machine, ms)",
    )
    times = ("2026-11-24 14:00:00", "2026-11-24T20:00:00Z", 1795554000)
    log.add("runs", [(7, "r1", "nightly", "quickbooks", "orders", "t1", 3, "auth", 401, "no", *times, b"box", 1.5)])
    (record,), _ = read_all(log.source(FULL))
    assert record == Record(
        key="7",
        run_id="r1",
        schedule_id="nightly",
        connector_id="quickbooks",
        entity_type="orders",
        tenant_id="t1",
        status=Status.FAILURE,
        error_type="auth",
        error_code="401",
        message="no",
        occurred_at=NOW,
        started_at=NOW.replace(hour=20),
        finished_at=NOW,
        heartbeat_at=None,
        details={"host": "box", "took": "1.5"},
        read_at=NOW,
    )


def test_what_is_null_or_empty_is_absent(tmp_path: Path) -> None:
    names = "k, run, schedule, connector, entity, tenant, state, kind, code, error, written, began, ended, machine, ms"
    log = Log(tmp_path / "runs.db", f"CREATE TABLE runs ({names})")
    log.add("runs", [(1, *[""] * 5, 3, *[""] * 8), (2, *[None] * 5, 3, *[None] * 8)])
    for record in read_once(log.source(FULL)).records:
        assert record.status is Status.FAILURE
        assert set(record[1:6] + record[7:13]) == {None}
        assert record.details == {}


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("failed", Status.FAILURE),
        ("Failed", Status.RETRYING),
        ("FAILED", Status.FAILURE),
        (" failed ", Status.FAILURE),
        ("5", Status.WARNING),
        ("", Status.UNMAPPED),
        ("fail", Status.UNMAPPED),
        (None, Status.UNMAPPED),
    ],
)
def test_a_status_is_matched_exactly_and_then_whatever_its_case(raw: str | None, status: Status) -> None:
    statuses = Statuses({"failed": Status.FAILURE, "Failed": Status.RETRYING, "5": Status.WARNING})
    assert statuses[raw] is status
    assert statuses[raw] is status, "the second time, from memory"


def test_the_memory_of_statuses_is_bounded() -> None:
    statuses = Statuses({"failed": Status.FAILURE})
    for number in range(9_000):
        assert statuses[f"strange {number}"] is Status.UNMAPPED
        assert len(statuses) <= 4_000
    assert statuses["x" * 501] is Status.UNMAPPED
    assert "x" * 501 not in statuses
    assert statuses["failed"] is Status.FAILURE


def test_what_rows_share_is_cut_and_kept_once() -> None:
    labels = Labels()
    first, second = (labels["".join(["quick", "books"])] for _ in range(2))
    assert first is second
    assert (labels[""], labels[None], labels["x" * 501]) == (None, None, "x" * 499 + "…")
    assert "x" * 501 not in labels


def test_an_unknown_status_is_unmapped_and_shows_what_it_was(jobs: Log, source: Source) -> None:
    jobs.add("jobs", [(1, "r", "exploded", "boom", None), (2, "r", None, "boom", None)])
    unknown, null = read_once(source).records
    assert (unknown.status, unknown.details) == (Status.UNMAPPED, {"status": "exploded"})
    assert (null.status, null.details) == (Status.UNMAPPED, {"status": "NULL"})


def test_a_text_can_make_a_record_ignored(jobs: Log) -> None:
    source = jobs.source('ignore = ["already running", "^skipped"]\n' + JOBS_MAPPING)
    texts = ["Sync already running", "skipped: holiday", "not skipped", None]
    jobs.add("jobs", [(None, "r", "failed", text, None) for text in texts])
    statuses = [record.status for record in read_once(source).records]
    assert statuses == [Status.IGNORED, Status.IGNORED, Status.FAILURE, Status.FAILURE]


def test_a_single_text_to_ignore_works_as_well(jobs: Log) -> None:
    source = jobs.source('ignore = ["already running"]\n' + JOBS_MAPPING)
    jobs.add("jobs", [(1, "r", "ok", "Already Running", None), (2, "r", "failed", "boom", None)])
    assert [record.status for record in read_once(source).records] == [Status.IGNORED, Status.FAILURE]


def test_a_text_to_ignore_is_looked_for_in_more_than_is_kept(jobs: Log) -> None:
    source = jobs.source('ignore = ["running"]\n' + JOBS_MAPPING)
    jobs.add(
        "jobs", [(1, "r", "failed", "x" * 9_000 + "running", None), (2, "r", "failed", "x" * 10_000 + "running", None)]
    )
    assert [record.status for record in read_once(source).records] == [Status.IGNORED, Status.FAILURE]


def test_texts_are_cut_and_say_so(jobs: Log) -> None:
    source = jobs.source(JOBS_MAPPING.replace("[sources.statuses]", 'details = ["error"]\n[sources.statuses]'))
    jobs.add("jobs", [(1, "r" * 9_999, "failed", "ä" * 1_000_000, None)])
    (record,) = read_once(source).records
    assert record.message == "ä" * 1_999 + "…"
    assert record.details == {"error": "ä" * 499 + "…"}
    assert record.run_id == "r" * 500


def test_a_success_carries_no_details(jobs: Log) -> None:
    source = jobs.source(JOBS_MAPPING.replace("[sources.statuses]", 'details = ["run"]\n[sources.statuses]'))
    jobs.add("jobs", [(1, "r", "ok", "fine", None), (2, "r", "failed", "boom", None)])
    assert [record.details for record in read_once(source).records] == [{}, {"run": "r"}]


def test_a_row_without_a_key_is_set_aside(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", "CREATE TABLE jobs (id TEXT, run TEXT, state TEXT, error TEXT, at TEXT)")
    log.add("jobs", [(key, "r", "failed", "boom", None) for key in (None, "", "x" * 501, "fine")])
    batch = read_once(log.source(JOBS_MAPPING))
    assert [record.key for record in batch.records] == ["fine"]
    assert batch.set_aside == [
        SetAside("row 1", "its key is NULL or empty"),
        SetAside("row 2", "its key is NULL or empty"),
        SetAside("x" * 500, "its key is longer than 500 characters"),
    ]
    assert batch.rows == 4


def test_last_change_dates_a_row_that_nothing_else_dates(jobs: Log) -> None:
    source = jobs.source(JOBS_MAPPING.replace("occurred_at", "updated_at"))
    jobs.add("jobs", [(1, "r", "failed", "boom", "2026-11-24 21:00:00")])
    assert read_once(source).records[0].occurred_at == NOW


JSON_MAPPING = """
table = "events"
start = "beginning"
[sources.columns]
key = "id"
run_id = { column = "body", json = "run.id" }
status = { column = "body", json = "state" }
message = { column = "body", json = "errors[0].text" }
occurred_at = { column = "body", json = "at" }
error_code = { column = "extra", json = "code" }
[sources.columns.details]
tries = { column = "body", json = "tries" }
who = { column = "extra", json = "who" }
[sources.statuses]
failure = ["failed"]
running = ["running"]
"""


@pytest.fixture
def events(tmp_path: Path) -> Log:
    return Log(tmp_path / "events.db", "CREATE TABLE events (id INTEGER PRIMARY KEY, body TEXT, extra TEXT)")


def _body(**changes: Any) -> str:
    body = {"run": {"id": 7}, "state": "Failed", "errors": [{"text": "boom"}], "at": 1795554000, "tries": [1, 2]}
    return json.dumps({**body, **changes})


def test_fields_come_out_of_json(events: Log) -> None:
    events.add("events", [(1, _body(), '{"code": 503, "who": "cron"}')])
    (record,) = read_once(events.source(JSON_MAPPING)).records
    assert (record.run_id, record.status, record.message) == ("7", Status.FAILURE, "boom")
    assert (record.occurred_at, record.error_code) == (NOW, "503")
    assert record.details == {"tries": "[1, 2]", "who": "cron"}


def test_malformed_json_sets_a_row_aside_only_where_its_status_is_inside(events: Log) -> None:
    events.add("events", [(1, "{broken", None), (2, _body(), "{broken"), (3, None, None)])
    batch = read_once(events.source(JSON_MAPPING))
    assert batch.set_aside == [SetAside("1", "its status is inside JSON that is malformed")]
    malformed_extra, null = batch.records
    assert (malformed_extra.status, malformed_extra.error_code) == (Status.FAILURE, None)
    assert (null.status, null.details) == (Status.UNMAPPED, {"status": "NULL"})


def test_a_status_in_json_may_be_anything(events: Log) -> None:
    events.add("events", [(None, _body(state=state), None) for state in (["failed"], {"a": 1}, 7, True, "")])
    batch = read_once(events.source(JSON_MAPPING))
    assert not batch.set_aside
    raw = [record.details["status"] for record in batch.records]
    assert raw == ['["failed"]', '{"a": 1}', "7", "true", "NULL"]


def test_a_huge_document_is_malformed_rather_than_read(events: Log) -> None:
    events.add("events", [(1, _body(padding="x" * 2_000_000), None)])
    assert read_once(events.source(JSON_MAPPING)).set_aside == [
        SetAside("1", "its status is inside JSON that is malformed")
    ]
