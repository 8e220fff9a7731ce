"""`notifyd doctor`: what is not well is found, with what to do; and what is well is left in peace."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from notifyd.clock import utc_now
from notifyd.model import Outcome, Result
from notifyd.store.database import open_database
from notifyd.store.lock import alone
from tests.cli.conftest import Notifyd, Past, aside, from_beginning, hook
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, webhook


@pytest.fixture
def endpoint() -> Iterator[str]:
    """An address where somebody answers, and wonders at what is said."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def found(notifyd: Notifyd, exit_code: int = 1) -> dict[str, list[str]]:
    """What was found, by level; each that is not well says what to do."""
    answer = notifyd("doctor", "--json")
    assert answer.exit_code == exit_code, answer.stdout + answer.stderr
    levels: dict[str, list[str]] = {}
    for item in answer.items:
        levels.setdefault(item["level"], []).append(item["text"])
        assert item["level"] in ("ok", "note") or item["do"] or "state DB" in item["text"], item
    assert answer.json["problems"] == len(levels.get("problem", []))
    assert answer.json["warnings"] == len(levels.get("warning", []))
    return levels


def one(texts: list[str], words: str) -> str:
    """The one text that has these words."""
    (text,) = [text for text in texts if words in text]
    return text


def test_where_all_is_well_it_says_so(site: Site, notifyd: Notifyd, jobs: JobLog, past: Past, endpoint: str) -> None:
    jobs.write([JobLog.row("ok"), JobLog.row("error", "no")])
    site.write(
        sources=from_beginning(jobs.source("jobs")),
        notifications=[hook("hook", config={"url": endpoint}), hook("other", config={"url": f"{endpoint}/2"})],
        heartbeat={"url": "https://example.com/beat"},
    )
    site.file.chmod(0o600)
    past.poll()
    past.attempt()
    with alone(site.state):
        levels = found(notifyd, 0)
        assert set(levels) == {"ok"}
        assert one(levels["ok"], "hook: 127.0.0.1:")
        assert one(levels["ok"], "and sends by httptools on uvloop")
        assert one(levels["ok"], "each of 2 rows that were read is accounted for")
        assert notifyd("doctor").stdout.endswith("0 problems, 0 warnings\n")


def test_what_is_not_well(site: Site, notifyd: Notifyd, jobs: JobLog, past: Past) -> None:
    """Everything at once."""
    jobs.write([JobLog.row("odd"), *(JobLog.row("error", "no", job=f"job {n}") for n in range(60))])
    strict = {"filters": {"min_severity": "critical", "event_types": ["sync_error"]}}
    site.write(
        sources=from_beginning(jobs.source("jobs")),
        notifications=[hook("hook"), hook("again")],
    )
    past.poll()
    past.attempt()
    past.attempt(Outcome(Result.REJECTED, "410 Gone", 410))
    site.write(
        sources=from_beginning(jobs.source("jobs")),
        notifications=[hook("hook", **strict), hook("again", **strict)],
        rules={"consecutive_failures": {"threshold": 1}},
    )
    site.file.chmod(0o644)
    site.state.chmod(0o644)
    levels = found(notifyd)
    problems, warnings = levels["problem"], levels["warning"]
    assert one(problems, "no daemon is running")
    assert one(problems, "hook: 127.0.0.1:9")
    assert one(problems, "no config in the file tells of critical events")
    assert one(warnings, "everybody can read")
    assert one(warnings, f"others than its owner may read {site.state}")
    assert one(warnings, 'the status "odd" of 1 row is unmapped')
    assert one(warnings, "hook and again send to the same place, and the same filters: everything is told there twice")
    assert one(warnings, "each is told twice, as itself and as a streak")
    assert one(warnings, "hook was sent 60 messages within a day, each by itself")
    assert one(levels["note"], "nobody is told if notifyd itself is dead")


def test_deliveries_that_were_given_up_and_events_that_nobody_was_told(
    site: Site, notifyd: Notifyd, jobs: JobLog, past: Past
) -> None:
    jobs.write([JobLog.row("error", "no", job=f"job {n}") for n in range(3)])
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    past.attempt(Outcome(Result.REJECTED, "410 Gone", 410))
    assert one(found(notifyd)["warning"], "3 deliveries given up")
    site.write(
        sources=from_beginning(jobs.source("jobs")),
        notifications=[hook("hook", filters={"connectors": ["another"]})],
    )
    jobs.write([JobLog.row("error", "no", job="job 9")])
    past.poll()
    warnings = found(notifyd)["warning"]
    assert one(warnings, "1 event of 4 told to nobody")
    assert one(warnings, "a critical event of a connector that no config names is told to nobody")


def test_books_that_do_not_balance(site: Site, notifyd: Notifyd, jobs: JobLog, past: Past) -> None:
    jobs.write([JobLog.row("ok")])
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    with closing(open_database(f"sqlite:///{site.state}", create=False)) as db:
        db.run("UPDATE counts SET value = value + 1 WHERE what = 'read'")
    assert one(found(notifyd)["problem"], "the books do not balance")


def test_a_state_db_that_is_damaged(site: Site, notifyd: Notifyd, jobs: JobLog, past: Past) -> None:
    jobs.write([JobLog.row("error", "no", job=f"job {n}") for n in range(50)])
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    with closing(sqlite3.connect(site.state)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with site.state.open("r+b") as file:
        file.seek(20_000)
        file.write(b"\x55" * (site.state.stat().st_size - 20_000))
    assert one(found(notifyd)["problem"], f"the state DB {site.state} is damaged")


def test_a_source_that_cannot_be_read_and_one_of_another_zone(site: Site, notifyd: Notifyd, jobs: JobLog) -> None:
    jobs.add("ok", at=utc_now() + timedelta(hours=2))
    gone = {**jobs.source("gone"), "url": f"sqlite:///{site.folder}/gone.db"}
    site.write(sources=[jobs.source("jobs"), gone], notifications=[hook("hook")])
    levels = found(notifyd)
    assert one(levels["problem"], "gone")
    assert one(levels["warning"], "jobs: its newest row is 2h in our future")


def test_mistakes_of_the_file_are_findings_too(site: Site, notifyd: Notifyd, jobs: JobLog) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    site.file.write_text(site.file.read_text().replace("[http]", '[http]\nlistne = "x"'))
    levels = found(notifyd)
    assert one(levels["problem"], "http.listne: ")
    assert one(levels["note"], "not looked at, as the settings file has mistakes")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_files_of_another_user(site: Site, notifyd: Notifyd, jobs: JobLog, past: Past) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    past.poll()
    os.chown(site.state, 65534, 65534)
    assert one(found(notifyd)["problem"], "state.db in")


async def test_nothing_is_sent(site: Site, jobs: JobLog) -> None:
    async with HttpSink() as sink:
        site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
        answer = await aside("doctor", site=site)
        await asyncio.sleep(0.05)
    assert "hook: 127.0.0.1" in answer.stdout
    assert [request for request in sink.requests if request.body] == []


def test_no_secret_is_shown(site: Site, notifyd: Notifyd, jobs: JobLog, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("http://127.0.0.1:9/services/T000/B000/verysecret")
    slack = {
        "name": "slack",
        "notification_type": "slack",
        "config": {"webhook_url": {"file": str(tmp_path / "url")}, "channel": "#a"},
    }
    site.write(sources=[jobs.source("jobs")], notifications=[slack])
    answer = notifyd("doctor")
    assert "slack: 127.0.0.1:9" in answer.stdout
    assert "verysecret" not in answer.stdout + answer.stderr
