"""What commands ask of a source: rows by key or run, the newest, raw statuses, and what the cursor passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from notifyd.model import Status
from notifyd.sources import SetAside, Source
from tests.sources.logs import JOBS, JOBS_MAPPING, NOW, Log, keys, read_all

LATER = NOW.replace(hour=22)


@pytest.fixture
def full(jobs: Log) -> Log:
    jobs.add(
        "jobs",
        [
            (1, "r1", "ok", "fine", None),
            (2, "r1", "failed", "boom", None),
            (3, "r2", "running", None, None),
            (4, "r2", "weird", None, None),
        ],
    )
    return jobs


def test_watched_rows_are_looked_up_as_they_are_now(full: Log, source: Source) -> None:
    full.run("UPDATE jobs SET state = 'failed', error = 'too late' WHERE id = 3", "DELETE FROM jobs WHERE id = 2")
    found = source.look_up(["3", "2", "1"], LATER)
    assert set(found) == {"1", "3"}
    assert (found["3"].status, found["3"].message, found["3"].read_at) == (Status.FAILURE, "too late", LATER)
    assert source.look_up([], LATER) == {}


def test_many_rows_are_looked_up_at_once(jobs: Log, source: Source) -> None:
    jobs.add("jobs", [(None, "r", "running", None, None)] * 1_500)
    wanted = [str(number) for number in range(1, 2_000)]
    assert list(source.look_up(wanted, NOW)) == wanted[:1_500]


@pytest.mark.parametrize("key", ["007", "7", "8.0", "-1", "0", "x", "é", "\udcff", "9" * 30, "7 OR 1=1"])
def test_keys_are_compared_as_the_texts_that_they_are(tmp_path: Path, key: str) -> None:
    log = Log(tmp_path / "jobs.db", "CREATE TABLE jobs (id, run, state, error, at)")
    log.add("jobs", [(value, "r", "failed", None, None) for value in ("007", 7, -1, 0, "x", "é")])
    expected = [key] if key in ("007", "7", "-1", "0", "x", "é") else []
    assert list(log.source(JOBS_MAPPING).look_up([key], NOW)) == expected


def test_a_row_is_found_by_its_key_and_else_by_its_run(full: Log, source: Source) -> None:
    assert keys(source.find("2", NOW)) == ["2"]
    assert keys(source.find("r1", NOW)) == ["1", "2"]
    assert source.find("r9", NOW) == []


def test_a_run_is_shown_by_its_newest_rows(jobs: Log, source: Source) -> None:
    jobs.add("jobs", [(None, "r", "failed", None, None)] * 60)
    assert keys(source.find("r", NOW)) == [str(number) for number in range(11, 61)]


def test_without_a_run_id_only_keys_are_found(full: Log) -> None:
    source = full.source(JOBS_MAPPING.replace('run_id = "run"\n', ""))
    assert keys(source.find("1", NOW)) == ["1"]
    assert source.find("r1", NOW) == []


def test_a_run_id_inside_json_is_found_too(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", JOBS)
    source = log.source(JOBS_MAPPING.replace('run_id = "run"', 'run_id = { column = "run", json = "id" }'))
    log.add(
        "jobs",
        [(1, '{"id": "a"}', "failed", None, None), (2, '{"id": "b"}', "ok", None, None), (3, "", "ok", None, None)],
    )
    assert keys(source.find("b", NOW)) == ["2"]


def test_a_row_that_cannot_be_mapped_is_still_found(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", JOBS)
    source = log.source(JOBS_MAPPING.replace('status = "state"', 'status = { column = "state", json = "s" }'))
    log.add("jobs", [(1, "r", "{broken", None, None)])
    (record,) = source.look_up(["1"], NOW).values()
    assert (record.key, record.status) == ("1", Status.UNMAPPED)
    assert record.details == {"set_aside": "its status is inside JSON that is malformed"}


def test_the_newest_rows_are_shown_raw_and_mapped(full: Log, source: Source) -> None:
    full.run("INSERT INTO jobs VALUES (5, 'r3', 'failed', 'boom', 1795554000)")
    (newest, mapped), (raw, weird) = source.newest(2, NOW)
    assert newest == {"id": 5, "run": "r3", "state": "failed", "error": "boom", "at": "1795554000"}
    assert not isinstance(mapped, SetAside)
    assert (mapped.key, mapped.occurred_at) == ("5", NOW)
    assert raw["state"] == "weird"
    assert not isinstance(weird, SetAside)
    assert weird.status is Status.UNMAPPED


def test_raw_values_are_fit_to_be_shown(jobs: Log, source: Source) -> None:
    jobs.add("jobs", [(1, "", b"caf\xc3\xa9 \xff", "x" * 1_000_000, None)])
    ((raw, _),) = source.newest(1, NOW)
    assert raw == {"id": 1, "run": "", "state": "café \ufffd", "error": "x" * 499 + "…", "at": None}


def test_the_newest_rows_show_what_is_set_aside(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", JOBS.replace("INTEGER PRIMARY KEY", "TEXT"))
    log.add("jobs", [(None, "r", "failed", "boom", None)])
    ((raw, mapped),) = log.source(JOBS_MAPPING).newest(5, NOW)
    assert (raw["id"], mapped) == (None, SetAside("row 1", "its key is NULL or empty"))


def test_raw_statuses_are_counted_with_what_they_mean(full: Log, source: Source) -> None:
    full.add("jobs", [(None, "r", state, None, None) for state in ("FAILED", "ok", "ok", None)])
    assert source.raw_statuses() == {
        "ok": (3, Status.SUCCESS),
        "failed": (1, Status.FAILURE),
        "FAILED": (1, Status.FAILURE),
        "running": (1, Status.RUNNING),
        "weird": (1, Status.UNMAPPED),
        None: (1, Status.UNMAPPED),
    }
    assert next(iter(source.raw_statuses())) == "ok", "the most frequent first"


def test_raw_statuses_inside_json_are_counted(tmp_path: Path) -> None:
    log = Log(tmp_path / "jobs.db", JOBS)
    source = log.source(JOBS_MAPPING.replace('status = "state"', 'status = { column = "state", json = "s" }'))
    log.add("jobs", [(None, "r", state, None, None) for state in ('{"s": "ok"}', "{broken", None)])
    assert source.raw_statuses() == {"ok": (1, Status.SUCCESS), None: (2, Status.UNMAPPED)}


def test_whether_the_cursor_has_passed_a_row(full: Log, source: Source) -> None:
    start = source.start(NOW).cursor
    cursor = source.read(start, NOW, limit=2).cursor
    assert [source.passed(cursor, key) for key in "1234"] == [True, True, False, False]
    assert source.passed(cursor, "99") is None
    assert source.passed(start, "1") is False


def test_a_cursor_that_waits_has_passed_nothing(jobs: Log) -> None:
    cursor = jobs.source(JOBS_MAPPING.replace('"jobs"', '"later"')).start(NOW).cursor
    jobs.add("jobs", [(1, "r", "failed", None, None)])
    assert jobs.source(JOBS_MAPPING).passed(cursor, "1") is False


def test_a_closed_source_opens_again(full: Log, source: Source) -> None:
    records, _ = read_all(source)
    source.close()
    source.close()
    assert read_all(source)[0] == records
