"""`notifyd status`: where everything stands, and that the books balance."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from notifyd.cli.output import local
from notifyd.cli.status import LEGEND
from notifyd.clock import utc_now
from notifyd.model import Outcome, Result
from notifyd.store import audit, trials
from notifyd.store.database import open_database
from notifyd.store.lock import Lock
from tests.cli.conftest import Notifyd, Past, from_beginning, hook
from tests.sinks.log import JobLog, SyncLog
from tests.system.site import Site

GUIDE = (Path(__file__).parents[2] / "systemd" / "README.md").read_text()


@pytest.fixture
def lived(site: Site, jobs: JobLog, past: Past) -> None:
    """Rows of every kind, a streak that was told and one below the threshold, deliveries sent and dead."""
    jobs.write([JobLog.row(status) for status in ("ok", "warning", "odd", "running", "ok")])
    jobs.write([JobLog.row("error", "no", job="daily") for _ in range(4)])
    jobs.write([JobLog.row("error", "no", job="hourly") for _ in range(2)])
    jobs.write([JobLog.row("error", "no", job="mended") for _ in range(3)] + [JobLog.row("ok", job="mended")])
    quiet = hook("quiet", filters={"min_severity": "critical"})
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook"), quiet])
    past.poll()
    past.attempt()
    past.attempt(Outcome(Result.REJECTED, "410 Gone", 410))


@pytest.mark.usefixtures("lived")
def test_everything_adds_up(site: Site, notifyd: Notifyd) -> None:
    found = notifyd("status", "--json").json
    (book,) = found["source_books"]
    counts = book["counts"]
    assert (counts["read"], counts["success"], counts["warning"], counts["unmapped"]) == (15, 3, 1, 1)
    assert (counts["open"], book["watched"], counts["failure"]) == (1, 1, 9)
    books = {book["name"]: book for book in found["config_books"]}
    assert books["quiet"]["counts"]["dropped"] > 0
    assert sum(books["hook"]["members"].values()) == sum(
        books["hook"]["counts"].get(name, 0) for name in ("planned", "closing_planned")
    )
    assert (found["balanced"], found["differences"], site.imbalances()) == (True, [], [])


@pytest.mark.usefixtures("lived")
def test_for_people(site: Site, notifyd: Notifyd) -> None:
    answer = notifyd("status")
    assert answer.exit_code == 0
    assert answer.stdout.startswith(
        f"no daemon is running, so nobody is told of anything · settings {site.file} · state {site.state}\n"
    )
    assert "it sends by httptools on uvloop\n" in answer.stdout
    assert answer.stdout.index("The books balance") < answer.stdout.index("Failing schedules, the worst first")
    assert answer.stdout.count("balanced") == 3
    assert "each failure by itself: too few in a row" in answer.stdout
    assert "mended" not in answer.stdout


def test_failing_channels(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    jobs.write(JobLog.row("error", "no", job=f"job {n}") for n in range(6))
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook", group={"window": "0s"})])
    past.poll()
    past.attempt(Outcome(Result.RETRY, "503 Service Unavailable", 503), retry_in=timedelta(minutes=1))
    (lane,) = notifyd("status", "--json").json["lanes"]
    assert (lane["name"], lane["failed"], lane["attempts"]) == ("hook", 5, 5)  # it opened at the fifth
    assert lane["breaker"] in ("open", "half-open")
    answer = notifyd("status").stdout
    assert "Failing channels" in answer
    assert "503 Service Unavailable" in answer


@pytest.mark.usefixtures("lived")
def test_failing_schedules(notifyd: Notifyd) -> None:
    streaks = notifyd("status", "--json").json["streaks"]
    assert [(each["schedule"], each["failed_runs"], each["announced"] is not None) for each in streaks] == [
        ("daily", 4, True),
        ("hourly", 2, False),
    ]


def test_a_schedule_that_fails_names_the_run_to_ask_why_about(
    site: Site, jobs: JobLog, past: Past, notifyd: Notifyd
) -> None:
    keys = [jobs.add("error", "no") for _ in range(2)]
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    (streak,) = notifyd("status", "--json").json["streaks"]
    assert (streak["newest_run"], streak["announced"]) == (keys[-1], None)
    assert notifyd("why", streak["newest_run"]).exit_code == 0
    assert "More of each: `notifyd why`" in notifyd("status").stdout


def test_where_everything_fails_the_worst_is_shown_after_the_books(
    site: Site, jobs: JobLog, past: Past, notifyd: Notifyd
) -> None:
    jobs.write(JobLog.row("error", "no", job=f"job-{n:02}") for n in range(30))
    jobs.write(JobLog.row("error", "no", job="job-29") for _ in range(2))
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    books, _, schedules = notifyd("status").stdout.partition("Failing schedules, the worst first")
    assert "The books balance" in books
    assert schedules.count("job-") == 10
    assert schedules.index("job-29") < schedules.index("job-00")
    assert "… and 20 more: notifyd status --json" in schedules


def test_a_streak_begins_after_the_last_success(site: Site, shop: SyncLog, past: Past, notifyd: Notifyd) -> None:
    site.write(sources=from_beginning(shop.source("shop")), notifications=[hook("hook")])
    for run, result in (("1", "error"), ("2", "success"), ("3", "error"), ("4", "error")):
        shop.add(run, result, "no")
    past.poll(utc_now() + timedelta(hours=1))
    past.poll(utc_now() + timedelta(hours=2))
    (streak,) = notifyd("status", "--json").json["streaks"]
    assert (streak["failed_runs"], streak["announced"]) == (2, None)


@pytest.mark.usefixtures("lived")
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("UPDATE counts SET value = value + 1 WHERE what = 'read'", "source jobs: 16 read is not 3 success + "),
        ("UPDATE counts SET value = value + 2 WHERE what = 'first_errors'", "9 failure is not 11 first_errors: "),
        ("DELETE FROM watched", "source jobs: 1 open is not 0 watched: the difference is 1"),
        ("UPDATE counts SET value = value + 1 WHERE what = 'offered' AND value > 9", "config hook: "),
        ("DELETE FROM deliveries WHERE seq = 1", "config hook: "),
    ],
)
def test_whatever_is_lost_is_named(site: Site, notifyd: Notifyd, sql: str, expected: str) -> None:
    with closing(sqlite3.connect(site.state)) as connection, connection:
        assert connection.execute(sql).rowcount > 0
    answer = notifyd("status")
    assert "The books do not balance" in answer.stdout
    assert expected in answer.stdout
    assert notifyd("status", "--json").json["balanced"] is False


@pytest.mark.usefixtures("lived")
def test_a_daemon_that_is_alive_is_known_by_its_lock(site: Site, notifyd: Notifyd) -> None:
    lock = Lock(site.state)
    assert lock.take()
    daemon = notifyd("status", "--json").json["daemon"]
    assert daemon == {"running": True, "state": str(site.state), "troubles": [], "settings_refused": []}
    assert notifyd("status").stdout.startswith("the daemon is running, process ")
    lock.release()
    assert notifyd("status", "--json").json["daemon"]["running"] is False


@pytest.mark.usefixtures("lived")
def test_the_newest_errors(notifyd: Notifyd, jobs: JobLog, past: Past) -> None:
    jobs.add("error", "no", job="more")
    past.poll()
    past.attempt(Outcome(Result.REJECTED, "410 Gone", 410))
    assert [error["error"] for error in notifyd("status", "--json").json["errors"]] == ["410 Gone"]
    assert "410 Gone" in notifyd("status").stdout


def test_what_was_given_up_says_what_to_do(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    for n in range(2):
        jobs.add("error", "no", job=f"job {n}")
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    assert "given up" not in notifyd("status").stdout
    past.attempt(Outcome(Result.REJECTED, "410 Gone", 410))
    said = notifyd("status").stdout
    assert "2 deliveries given up: `notifyd history --failed` has the errors" in said
    command = said.partition("once mended: `notifyd ")[2].partition("`")[0]
    assert notifyd(*command.split()).stdout.startswith("2 will be sent again")


def test_a_test_that_failed_is_not_given_up(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    with closing(open_database(site.settings().daemon.state, create=False)) as db:
        trials.begin(db, trials.unsaved_id("draft"), "draft", utc_now())
        with db.transaction():
            db.run("UPDATE deliveries SET state = 'dead'")
    said = notifyd("status").stdout
    assert "given up" not in said
    assert "1 test that failed: nothing is left to do about it" in said
    assert trials.unsaved_id("draft") not in said, "a config that was only tried out has no line of its own"
    assert "The books balance" in said
    found = notifyd("status", "--json").json
    (draft,) = [book for book in found["config_books"] if not book["saved"]]
    assert (draft["counts"], draft["members"], found["given_up"]) == ({"test_planned": 1}, {"dead": 1}, 0)


def test_events_that_nobody_was_told_of(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    jobs.add("error", "no")
    quiet = hook("quiet", filters={"min_severity": "critical"})
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[quiet])
    past.poll()
    assert notifyd("status", "--json").json["untold"] == 1
    assert "1 event told to nobody, as every config dropped it: see `notifyd check`" in notifyd("status").stdout
    check = notifyd("check")
    assert "warning: 1 event told to nobody, as every config dropped it; the newest: Sync Error" in check.stdout
    identity = check.stdout.partition("`notifyd why ")[2].partition("`")[0]
    assert "to nobody: every config dropped it" in notifyd("why", identity).stdout


def test_a_source_that_cannot_be_read(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    jobs.write([JobLog.row("error", "no") for _ in range(3)])
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    jobs.connection.execute("DROP TABLE jobs")
    past.poll()
    assert "jobs cannot be read since " in notifyd("status").stdout
    (opened,) = notifyd("status", "--json").json["open"]
    assert opened["state"] == "cannot be read: it waits"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", opened["since"])
    assert local(datetime.fromisoformat(opened["since"])) in notifyd("status").stdout


def test_what_is_open_and_whether_it_can_recover(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    for _ in range(3):
        jobs.add("error", "no")
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    (streak,) = site.query("SELECT id FROM events WHERE event_type = 'consecutive_failures'")
    states = []
    for sources in ([jobs.source("jobs")], [jobs.source("jobs", enabled=False)], []):
        site.write(sources=sources, notifications=[hook("hook")])
        (opened,) = notifyd("status", "--json").json["open"]
        assert (opened["event"], opened["title"]) == (streak[0], "Multiple Sync Failures: quickbooks")
        states.append(opened["state"])
        assert opened["state"] in notifyd("status").stdout
    assert states == ["is read", "is disabled: it waits", "was removed: it ends when a daemon starts"]


@pytest.mark.usefixtures("lived")
def test_the_words_of_the_books_are_explained_below_them(notifyd: Notifyd) -> None:
    words = {*audit.EVENT_ENDS, "gathering", "closing", "tests", "pruned", "offered"}
    assert words <= set(re.findall("[a-z]+", LEGEND))
    assert LEGEND in notifyd("status").stdout
    assert all(f"| {word} |" in GUIDE for word in (*audit.EVENT_ENDS, *audit.STATES, "offered", "pruned"))
