"""What `notifyd check` warns of because the newest rows show it: each would cost news, and nobody would notice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from notifyd.model import Status
from tests.sources.logs import NOW, Log, read_all

TABLE = "CREATE TABLE runs (id INTEGER PRIMARY KEY, job TEXT, state TEXT, report TEXT, ended TEXT, changed TEXT)"
ERRORS = "CREATE TABLE errors (run INTEGER, text TEXT)"

MAPPING = """
table = "runs"
start = "beginning"
{more}
[sources.columns]
key = "{key}"
schedule_id = "job"
status = "state"
message = {message}
finished_at = "ended"
{columns}
[sources.statuses]
success = ["ok"]
failure = ["failed"]
running = ["NULL"]
"""

GOOD = (1, "daily", "failed", '{"error": {"text": "boom"}}', "2026-11-24T10:00:00Z", "2026-11-24T10:00:00Z")
INSIDE = '{ column = "report", json = "error.text" }'


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "runs.db", TABLE, "CREATE INDEX runs_changed ON runs (changed)", ERRORS)


def warnings(log: Log, *, key: str = "id", message: str = INSIDE, columns: str = "", more: str = "") -> tuple[str, ...]:
    source = log.source(MAPPING.format(key=key, message=message, columns=columns, more=more))
    found = source.about(None, NOW).warnings
    source.close()
    return found


def test_nothing_is_said_of_a_log_that_fits(log: Log) -> None:
    assert warnings(log) == (), "of an empty log either"
    log.add("runs", [GOOD, (2, "daily", None, None, None, None), (3, "daily", "ok", None, *GOOD[4:])])
    assert warnings(log) == ()


def test_a_key_that_rows_share(log: Log) -> None:
    log.add("runs", [GOOD, (2, *GOOD[1:]), (3, "weekly", *GOOD[2:])])
    by_time = 'cursor = "timestamp"'
    (warning,) = [
        one for one in warnings(log, key="job", columns='updated_at = "changed"', more=by_time) if "key" in one
    ]
    assert warning.startswith('columns.key: 2 of the newest 3 rows share the key "daily", so all but one')


def test_a_path_that_leads_nowhere(log: Log) -> None:
    log.add("runs", [GOOD, (2, "daily", "ok", None, *GOOD[4:])])
    (warning,) = warnings(log, message='{ column = "report", json = "err.text" }')
    assert warning == 'columns.message: the path "err.text" leads to nothing in any of the failures that were looked at'


def test_times_that_are_none(log: Log) -> None:
    log.add("runs", [(*GOOD[:4], "03/12/2026 10:22 PM", GOOD[5])])
    (warning,) = warnings(log)
    assert warning.startswith('columns.finished_at: "03/12/2026 10:22 PM" is not understood as a time')
    log.add("runs", [(2, *GOOD[1:])])
    assert warnings(log) == (), "one row that is odd is no mapping that is wrong"


def test_rows_of_tomorrow(log: Log) -> None:
    ahead = (NOW + timedelta(hours=8)).isoformat()
    log.add("runs", [(*GOOD[:4], ahead, ahead)])
    (warning,) = warnings(log)
    assert warning.startswith("its newest row is 8h in our future: its times are of another `timezone`")


def test_rows_that_no_read_by_time_finds(log: Log) -> None:
    log.add("runs", [GOOD, (2, *GOOD[1:5], None)])
    (warning,) = warnings(log, columns='updated_at = "changed"', more='cursor = "timestamp"')
    assert warning.startswith('table "runs" has rows whose "changed" is NULL: they are never read')
    assert warnings(log, columns='updated_at = "changed"') == (), "by key they are"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT text FORM errors WHERE run = :key", "syntax error"),
        ("SELECT text FROM errors WHERE run = :kee", "kee"),
        ("SELECT txt FROM errors WHERE run = :key", "no such column: txt"),
        ("SELECT text FROM errors WHERE run = :key", ""),
    ],
)
def test_an_error_query_that_fails_is_said_before_and_once_while_it_runs(log: Log, query: str, said: str) -> None:
    log.add("runs", [(1, "daily", "failed", None, *GOOD[4:]), (2, "daily", "failed", None, *GOOD[4:])])
    found = warnings(log, message='"report"', more=f'error_query = "{query}"')
    assert [said in one and one.startswith("error_query cannot be run") for one in found] == [True] * bool(said)
    source = log.source(MAPPING.format(key="id", message='"report"', columns="", more=f'error_query = "{query}"'))
    first = source.read(source.start(NOW).cursor, NOW)
    log.add("runs", [(3, "daily", "failed", None, *GOOD[4:])])
    second = source.read(first.cursor, NOW)
    source.close()
    assert (first.notes, second.notes) == (found, ())


def test_a_row_without_a_status_can_be_mapped(log: Log) -> None:
    """Also where it was there before reading began: it is watched like any row that runs."""
    log.add("runs", [(1, "daily", None, None, None, None), (2, "daily", "odd", None, None, None)])
    mapping = MAPPING.format(key="id", message='"report"', columns="", more="")
    records = read_all(log.source(mapping))[0]
    assert [record.status for record in records] == [Status.RUNNING, Status.UNMAPPED]
    started = log.source(mapping.replace('"beginning"', '"now"')).start(NOW)
    assert [record.key for record in started.records] == ["1"]
