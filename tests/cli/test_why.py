"""`notifyd why`: every way in which a row, a run, an event or a delivery ends has its explanation."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from notifyd.model import Outcome, Result
from tests.cli.conftest import Answer, Notifyd, Past, from_beginning, hook
from tests.sinks.log import JobLog, SyncLog
from tests.system.site import Site

STATUSES = {
    "success": ["ok"],
    "failure": ["error"],
    "warning": ["warning"],
    "running": ["running"],
    "ignored": ["skipped"],
}


@pytest.fixture
def read(site: Site, jobs: JobLog, past: Past) -> Any:
    """Write the settings, read the jobs from the beginning on."""

    def read_them(*notifications: dict[str, Any], rules: dict[str, Any] | None = None, **source: Any) -> None:
        (table,) = from_beginning(jobs.source("jobs", statuses=STATUSES, **source))
        extra = {"rules": rules} if rules else {}
        site.write(sources=[table], notifications=notifications or [hook("hook")], **extra)
        past.poll()

    return read_them


def explained(answer: Answer) -> str:
    """Why the one row that was asked for gave no event."""
    (row,) = answer.json["rows"]
    return str(row["explanation"])


def test_the_whole_chain_on_one_screen(jobs: JobLog, read: Any, past: Past, notifyd: Notifyd) -> None:
    key = jobs.add("error", "500: out of stock")
    read(hook("hook"), hook("pager", filters={"min_severity": "critical"}))
    past.attempt(Outcome(Result.RETRY, "503 Service Unavailable", 503), retry_in=timedelta(seconds=-1))
    past.attempt()
    answer = notifyd("why", key)
    assert answer.exit_code == 0
    assert len(answer.stdout.splitlines()) < 24
    for expected in (
        f"Row {key} of source jobs: failure",
        "Sync Error: quickbooks",
        "500: out of stock",
        "severity error is below critical",
        "sent at once",
        "503 Service Unavailable",
        "200",
    ):
        assert expected in answer.stdout


def test_why_a_delivery_is_dead_or_waits(jobs: JobLog, read: Any, past: Past, notifyd: Notifyd) -> None:
    keys = [jobs.add("error", "no", job=f"job {n}") for n in range(7)]
    read()
    past.attempt(Outcome(Result.RETRY, "503 Service Unavailable", 503))
    dead = notifyd("why", keys[0]).stdout
    assert "hook: dead: 503 Service Unavailable" in dead
    waiting = jobs.add("error", "no", job="late")
    past.poll()
    (event,) = notifyd("why", waiting, "--json").json["events"]
    delivery = event["verdicts"][0]["delivery"]
    assert delivery["waits_for"]["what"].startswith("its channel fails: ")
    assert "hook: it waits, as its channel fails: " in notifyd("why", waiting).stdout
    assert "its channel fails: " in notifyd("why", delivery["id"]).stdout


def test_the_same_as_json(jobs: JobLog, read: Any, past: Past, notifyd: Notifyd) -> None:
    key = jobs.add("error", "500: out of stock")
    read(hook("hook"), hook("pager", filters={"min_severity": "critical"}))
    past.attempt()
    found = notifyd("why", key, "--json").json
    (event,) = found["events"]
    verdicts = {verdict["config_name"]: verdict for verdict in event["verdicts"]}
    assert (found["what"], event["record_key"], found["rows"][0]["explanation"]) == ("row", key, None)
    assert (verdicts["pager"]["decided"], verdicts["pager"]["delivery"]) == ("dropped", None)
    assert verdicts["hook"]["delivery"]["state"] == "sent"
    assert [attempt["status_code"] for attempt in verdicts["hook"]["delivery"]["attempts"]] == [200]
    assert event["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    ("status", "message", "keys", "expected"),
    [
        ("ok", None, {}, "a success: nothing to tell"),
        ("warning", "slow", {}, "a warning: it neither counts as a failure nor ends a streak"),
        ("running", None, {}, "it has not ended yet; it is looked at since"),
        ("skipped", None, {}, "ignored: the source maps its status to ignored"),
        ("odd", "?", {}, 'its status "odd" is unmapped and counts for nothing'),
        (None, "?", {}, 'its status "NULL" is unmapped and counts for nothing'),
        ("error", "weekly probe", {"ignore": ["^weekly"]}, 'its message matches "^weekly", of the source\'s ignore'),
        (
            "error",
            "maintenance",
            {"rules": {"patterns": [{"matches": "mainten", "event_type": "ignore"}]}},
            'its message matches "mainten", of [[rules.patterns]]',
        ),
        ("error", "Sync already running for tenant T", {}, "its text says that another sync was at work"),
    ],
)
def test_a_row_without_an_event(
    jobs: JobLog,
    read: Any,
    notifyd: Notifyd,
    status: str | None,
    message: str | None,
    keys: dict[str, Any],
    expected: str,
) -> None:
    key = jobs.add(status, message)
    read(**keys)
    answer = notifyd("why", key, "--json")
    assert answer.exit_code == 0
    assert expected in explained(answer)
    assert answer.json["events"] == []
    assert expected in notifyd("why", key).stdout


def test_a_row_that_was_counted_into_its_run_shows_what_the_run_told(
    site: Site, shop: SyncLog, past: Past, notifyd: Notifyd
) -> None:
    site.write(sources=from_beginning(shop.source("shop")), notifications=[hook("hook")])
    first = shop.add("run-1", "error", "500: out of stock")
    second = shop.add("run-1", "error", "500: no such order")
    past.poll()
    answer = notifyd("why", second, "--json")
    (event,) = answer.json["events"]
    assert event["record_key"] == first
    assert f"the run's first sync_error, row {first}, was told as {event['id']}" in explained(answer)
    assert "with 2 failing rows by now" in explained(answer)
    assert "sent at once" in notifyd("why", second).stdout


def test_a_row_that_was_not_read_yet(jobs: JobLog, read: Any, notifyd: Notifyd) -> None:
    jobs.add("ok")
    read()
    key = jobs.add("error", "no")
    assert explained(notifyd("why", key, "--json")).startswith("not read yet: reading was at key 1 at ")


def test_a_row_that_could_not_be_read_yet(jobs: JobLog, read: Any, past: Past, notifyd: Notifyd) -> None:
    jobs.add("ok")
    read()
    jobs.connection.execute("ALTER TABLE jobs RENAME TO away")
    past.poll()
    jobs.connection.execute("ALTER TABLE away RENAME TO jobs")
    key = jobs.add("error", "no")
    assert explained(notifyd("why", key, "--json")).startswith("not read yet: the source cannot be read since ")


@pytest.mark.parametrize(
    ("forgotten", "expected"),
    [
        (("verdicts", "events"), "counted into its run, which has 1 failing row"),
        (("verdicts", "events", "runs"), "it was read, but nothing more is known of it"),
    ],
)
def test_a_row_whose_event_is_forgotten_by_now(
    site: Site, jobs: JobLog, read: Any, notifyd: Notifyd, forgotten: tuple[str, ...], expected: str
) -> None:
    key = jobs.add("error", "no", at=datetime.now(UTC) + timedelta(days=1))
    read()
    with closing(sqlite3.connect(site.state)) as connection, connection:
        for table in forgotten:
            connection.execute(f"DELETE FROM {table}")
    assert explained(notifyd("why", key, "--json")).startswith(expected)


def test_a_row_older_than_what_is_told(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    key = jobs.add("error", "an old story", at=datetime(2026, 1, 1, tzinfo=UTC))
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    past.poll()
    text = explained(notifyd("why", key, "--json"))
    assert text.startswith("older than what is told: reading this source began at ")
    assert 'start = "now"' in text


def test_a_source_that_no_daemon_has_read(
    site: Site, jobs: JobLog, shop: SyncLog, past: Past, notifyd: Notifyd
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    past.poll()
    site.write(sources=[jobs.source("jobs"), shop.source("shop")], notifications=[hook("hook")])
    key = shop.add("run-1", "error", "no")
    assert explained(notifyd("why", key, "--json")) == "no daemon has begun to read this source yet"


def test_a_row_that_was_set_aside(site: Site, jobs: JobLog, read: Any, notifyd: Notifyd) -> None:
    """Also when it is not at its source any more."""
    key = jobs.add("ok", "{not json")
    columns = {"key": "id", "status": {"column": "error", "json": "status"}}
    read(columns=columns)
    assert "it was set aside at" in explained(notifyd("why", key, "--json"))
    assert "its status is inside JSON that is malformed" in explained(notifyd("why", key, "--json"))
    jobs.connection.execute("DELETE FROM jobs")
    answer = notifyd("why", key)
    assert answer.exit_code == 0
    assert f"source jobs: row {key} was set aside at" in answer.stdout


def test_a_key_that_nobody_knows(site: Site, read: Any, notifyd: Notifyd) -> None:
    read()
    answer = notifyd("why", "4711")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith(f"nothing is known of 4711: not in the state DB {site.state}, and not at jobs; ")
    assert answer.stderr.endswith(
        "; it takes the key of a row, or the id of a run, a schedule, an event or a delivery\n"
    )


def test_a_schedule_and_its_newest_events(jobs: JobLog, read: Any, notifyd: Notifyd) -> None:
    keys = [jobs.add("error", f"no {n}", job="nightly") for n in range(7)]
    jobs.add("error", "no", job="hourly")
    read()
    found = notifyd("why", "nightly", "--json").json
    assert (found["what"], found["schedules"][0]["failed_runs"]) == ("schedule", 7)
    assert [event["record_key"] for event in found["events"]] == [*reversed(keys[3:]), None]
    assert found["more"] == 3, "the first failures"
    said = notifyd("why", "nightly").stdout
    assert "1 schedule of that name, and how each fares" in said
    assert "no 6" in said
    assert "hourly" not in said


def test_the_schedules_of_a_connector(jobs: JobLog, read: Any, notifyd: Notifyd) -> None:
    jobs.write([JobLog.row("error", "no", job=f"job {n}") for n in range(2)])
    read()
    found = notifyd("why", "quickbooks", "--json").json
    assert ([each["schedule"] for each in found["schedules"]], found["events"]) == (["job 0", "job 1"], [])
    assert "2 schedules of that name" in notifyd("why", "quickbooks").stdout


def test_the_schedule_of_that_id_comes_before_those_of_a_connector_of_that_name(
    jobs: JobLog, read: Any, notifyd: Notifyd
) -> None:
    jobs.write([JobLog.row("error", "no", job=job) for job in ("job 0", "quickbooks")])
    read()
    found = notifyd("why", "quickbooks", "--json").json
    assert [each["schedule"] for each in found["schedules"]] == ["quickbooks"]
    assert len(found["events"]) == 1


def test_a_source_that_cannot_be_read_is_said_and_stops_nothing(
    jobs: JobLog, read: Any, past: Past, notifyd: Notifyd
) -> None:
    key = jobs.add("error", "no")
    read()
    jobs.close()
    jobs.path.rename(jobs.path.with_suffix(".gone"))
    answer = notifyd("why", key)
    assert answer.exit_code == 0
    assert f'source "jobs": no such file: {jobs.path}' in answer.stdout
    assert "Sync Error: quickbooks" in answer.stdout


def test_the_same_key_in_two_sources(site: Site, jobs: JobLog, tmp_path: Path, past: Past, notifyd: Notifyd) -> None:
    with JobLog(tmp_path / "other.db") as other:
        key = jobs.add("error", "no")
        assert other.add("ok") == key
        sources = from_beginning(jobs.source("jobs"), other.source("other"))
        site.write(sources=sources, notifications=[hook("hook")])
        past.poll()
        assert notifyd("why", key, "--json").json["events"][0]["source"] == "jobs"
        answer = notifyd("why", key, "--source", "other", "--json")
        assert explained(answer).startswith("a success: nothing to tell")
        assert answer.json["events"] == []
        wrong = notifyd("why", key, "--source", "othr")
    assert (wrong.exit_code, wrong.stderr) == (2, 'no source is called "othr"; did you mean "other"?\n')


def test_a_run_and_the_streak_that_it_completed(site: Site, shop: SyncLog, past: Past, notifyd: Notifyd) -> None:
    site.write(sources=from_beginning(shop.source("shop")), notifications=[hook("hook")])
    for n in range(1, 4):
        shop.add(f"run-{n}", "success")
        key = shop.add(f"run-{n}", "error", "500: out of stock")
    past.poll()
    found = notifyd("why", "run-3", "--json").json
    assert found["what"] == "run"
    assert [event["event_type"] for event in found["events"]] == ["sync_error", "consecutive_failures"]
    assert [row["explanation"] for row in found["rows"]] == ["a success: nothing to tell", None]
    assert "2 rows of source shop" in notifyd("why", "run-3").stdout
    of_row = notifyd("why", key, "--json").json
    assert [event["event_type"] for event in of_row["events"]] == ["sync_error", "consecutive_failures"]


def test_a_run_that_told_nothing(site: Site, shop: SyncLog, past: Past, notifyd: Notifyd) -> None:
    site.write(sources=from_beginning(shop.source("shop")), notifications=[hook("hook")])
    shop.write([shop.row("run-1", "success") for _ in range(60)])
    past.poll()
    answer = notifyd("why", "run-1")
    assert "50 rows of source shop" in answer.stdout
    assert "a success: nothing to tell" in answer.stdout


def test_an_event_and_a_delivery_by_their_ids(jobs: JobLog, read: Any, past: Past, notifyd: Notifyd) -> None:
    jobs.add("error", "no")
    read(hook("hook"), hook("other"))
    past.attempt()
    (event,) = notifyd("why", "1", "--json").json["events"]
    by_event = notifyd("why", event["id"], "--json").json
    assert (by_event["what"], by_event["events"], by_event["rows"][0]["key"]) == ("event", [event], "1")
    delivery = event["verdicts"][0]["delivery"]
    by_delivery = notifyd("why", delivery["id"], "--json").json
    assert (by_delivery["what"], by_delivery["delivery"], by_delivery["rows"]) == ("delivery", delivery, [])
    assert [verdict["config_name"] for verdict in by_delivery["events"][0]["verdicts"]] == ["hook"]
    assert f"Delivery {delivery['id']} to hook" in notifyd("why", delivery["id"]).stdout


def test_a_digest_shows_some_of_its_events_and_counts_the_rest(jobs: JobLog, read: Any, notifyd: Notifyd) -> None:
    for n in range(31):
        jobs.add("error", f"no {n}", job=f"job {n}")
    read(hook("hook", group={"window": "5m"}))
    digest = notifyd("deliveries", "--state", "gathering", "--json").items[0]
    found = notifyd("why", digest["id"], "--json").json
    assert (digest["count"], len(found["events"]), found["more"]) == (30, 20, 10)
    assert "… and 10 more events" in notifyd("why", digest["id"]).stdout


def test_a_source_whose_url_is_elsewhere(
    site: Site, jobs: JobLog, past: Past, notifyd: Notifyd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at where the url can be had, and said where it cannot."""
    source = {**jobs.source("jobs"), "url": {"env": "SHOP_URL"}, "start": "beginning"}
    site.write(sources=[source], notifications=[hook("hook")])
    jobs.add("ok")
    monkeypatch.setenv("SHOP_URL", jobs.url)
    past.poll()
    assert explained(notifyd("why", "1", "--json")).startswith("a success: nothing to tell")
    monkeypatch.delenv("SHOP_URL")
    answer = notifyd("why", "1")
    assert answer.exit_code == 0
    assert "its url is a secret that this command does not resolve" in answer.stdout


def test_where_no_daemon_has_run(site: Site, jobs: JobLog, notifyd: Notifyd) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    answer = notifyd("why", "1")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert f"there is no state DB at {site.state}" in answer.stderr
    assert not site.state.exists()


def test_the_row_that_ended_a_streak(jobs: JobLog, read: Any, notifyd: Notifyd) -> None:
    for _ in range(3):
        jobs.add("error", "no")
    key = jobs.add("ok")
    read()
    found = notifyd("why", key, "--json").json
    assert [event["event_type"] for event in found["events"]] == ["recovered"]
    assert found["rows"][0]["explanation"] is None
    assert f"closes   {found['events'][0]['closes']['id']}" in notifyd("why", key).stdout
