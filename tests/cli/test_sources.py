"""`notifyd sources`: where reading each source has come to, beside a log that goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifyd.clock import utc_now
from tests.cli.conftest import Notifyd, Past, from_beginning, hook
from tests.sinks.log import JobLog, SyncLog
from tests.sources.servers import Server
from tests.system.site import Site


def source_states(notifyd: Notifyd) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in notifyd("sources", "--json").items}


def test_sources_read_new_and_forgotten(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    jobs.add("running")
    old = jobs.source("old", id="first")
    site.write(sources=from_beginning(old, jobs.source("gone")), notifications=[hook("hook")])
    past.poll()
    site.write(sources=[jobs.source("renamed", id="first"), jobs.source("new")], notifications=[hook("hook")])
    states = source_states(notifyd)
    assert (states["renamed"]["watched"], states["renamed"]["at_end"], states["renamed"]["in_file"]) == (1, True, True)
    assert (states["gone"]["in_file"], states["new"]["read_at"]) == (False, None)
    table = notifyd("sources").stdout
    assert "renamed" in table
    assert "not read yet" in table
    assert "no more" in table


def test_sources_say_what_is_wrong(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    past.poll()
    jobs.connection.execute("DROP TABLE jobs")
    since = utc_now() + timedelta(minutes=1)
    past.poll(since)
    past.poll(since + timedelta(minutes=2))
    state = source_states(notifyd)["jobs"]
    assert state["error"].startswith('source "jobs": no table "jobs"')
    assert datetime.fromisoformat(state["failing_since"]) == since
    assert f"since {since.astimezone():%Y-%m-%d %H:%M:%S %Z}: {state['error']}" in notifyd("sources").stdout


def test_sources_show_the_newest_rows_that_were_set_aside(
    site: Site, jobs: JobLog, past: Past, notifyd: Notifyd
) -> None:
    columns = {"key": "id", "status": {"column": "error", "json": "status"}}
    keys = [jobs.add("ok", "{not json") for _ in range(4)]
    site.write(sources=from_beginning(jobs.source("jobs", columns=columns)), notifications=[hook("hook")])
    past.poll()
    state = source_states(notifyd)["jobs"]
    assert state["set_aside"] == 4
    assert [aside["key"] for aside in state["newest_set_aside"]] == keys[:0:-1]
    assert notifyd("sources").stdout.count("its status is inside JSON that is malformed") == 3


def test_sources_say_what_waits(site: Site, jobs: JobLog, shop: SyncLog, past: Past, notifyd: Notifyd) -> None:
    """In words, in rows and in seconds, whether the daemon runs or not."""
    jobs.add("ok")
    shop.add("run 1", "success")
    site.write(sources=from_beginning(jobs.source("jobs"), shop.source("shop")), notifications=[hook("hook")])
    past.poll()
    states = source_states(notifyd)
    assert [(state["rows_behind"], state["seconds_behind"]) for state in states.values()] == [(0, 0), (0, 0)]
    assert (states["jobs"]["read_up_to"], states["shop"]["read_up_to"]) == ("key 1", "rowid 1")
    for age in (90, 30):
        jobs.add("ok", at=utc_now() - timedelta(seconds=age))
    state = source_states(notifyd)["jobs"]
    assert (state["rows_behind"], state["more_behind"], state["gaps"]) == (2, False, 0)
    assert 90 <= state["seconds_behind"] < 100
    table = notifyd("sources").stdout
    assert "key 1" in table
    assert "strategy" not in table, "a cursor is for programs"


def test_sources_say_why_a_log_cannot_be_asked(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    jobs.add("ok")
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    jobs.connection.execute("ALTER TABLE jobs RENAME TO others")
    why = f'source "jobs": no table "jobs" in {jobs.path}'
    assert source_states(notifyd)["jobs"]["unasked"] == why
    assert f"what waits behind jobs cannot be seen here: {why}" in notifyd("sources").stdout
    past.poll()
    assert "cannot be seen here" not in notifyd("sources").stdout, "the table says it as the daemon's own error"


@pytest.mark.parametrize("cursor", ["key", "timestamp"])
def test_sources_on_servers(server: Server, cursor: str, site: Site, past: Past, notifyd: Notifyd) -> None:
    now = datetime.now(UTC)
    server.run(f"CREATE TABLE jobs (id {server.key}, name varchar(20), status varchar(20), at {server.times})")
    insert = "INSERT INTO jobs (name, status, at) VALUES ('{}', 'ok', '{:%F %T}')"
    server.run(*(insert.format(f"n{number}", now - timedelta(minutes=9)) for number in range(3)))
    source = {
        "name": "jobs", "url": server.url, "table": "jobs", "cursor": cursor, "start": "beginning",
        "columns": {"key": "id" if cursor == "key" else "name", "status": "status", "occurred_at": "at"},
        "statuses": {"success": ["ok"], "failure": ["error"]},
    }  # fmt: skip
    site.write(sources=[source], notifications=[hook("hook")])
    past.poll()
    assert source_states(notifyd)["jobs"]["rows_behind"] == 0
    server.run(insert.format("n3", now - timedelta(minutes=5)), insert.format("n4", now))
    state = source_states(notifyd)["jobs"]
    assert (state["rows_behind"], state["read_up_to"]) == (2, "key 3" if cursor == "key" else "time")
    assert 299 <= state["seconds_behind"] < 330
