"""`notifyd sources rewind`: a log is read again, or not at all, and nothing that was told is told again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta

import pytest

from notifyd.clock import utc_now
from tests.cli.conftest import Notifyd, Past, aside, from_beginning, hook
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog, SyncLog
from tests.sources.servers import Server
from tests.system.process import Process
from tests.system.site import Site, until, webhook


@pytest.fixture
def read(site: Site, jobs: JobLog, past: Past) -> datetime:
    """Five rows, one each hour up to now, two of them failures that were told; when the newest was written."""
    now = utc_now()
    for hours in range(4, -1, -1):
        failed = hours in (0, 3)
        jobs.add(
            "error" if failed else "ok", "no" if failed else None, job=f"j{hours}", at=now - timedelta(hours=hours)
        )
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    return now


@pytest.fixture
def held(server: Server) -> Iterator[ExitStack]:
    """What is closed before the database is dropped, which waits for it."""
    with ExitStack() as stack:
        yield stack


def failures(site: Site) -> int:
    return int(site.value("SELECT COUNT(*) FROM events"))


@pytest.mark.parametrize(
    ("to", "rows"),
    [("beginning", 5), ("150m", 3), ("2", 4), ("key:5", 1), ("{time}", 2), ("now", 0), ("2000-01-01", 5)],
)
def test_what_was_told_is_read_again_and_not_told_again(
    site: Site, jobs: JobLog, past: Past, notifyd: Notifyd, read: datetime, to: str, rows: int
) -> None:
    to = to.format(time=(read - timedelta(minutes=70)).isoformat())
    answer = notifyd("sources", "rewind", "jobs", "--to", to)
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert f"{rows} row{'s' if rows != 1 else ''} read again, and 0 not read yet" in answer.stdout
    assert "to be told, as filters and grouping have it: nothing" in answer.stdout
    before = site.book("source:jobs")["read"]
    past.poll()
    assert before <= site.book("source:jobs")["read"] <= before + rows, "a row that is still watched counts once"
    assert '"at":5' in site.value("SELECT cursor FROM cursors")
    assert (failures(site), site.imbalances()) == (2, [])
    jobs.add("error", "new", job="new")
    past.poll()
    assert failures(site) == 3


def test_what_had_ended_when_reading_began_is_news(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    """It is watched, in case it is run again, but nobody was told of it."""
    now = utc_now()
    for minutes in (90, 50, 10):
        jobs.add("error", "no", job=f"j{minutes}", at=now - timedelta(minutes=minutes))
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    past.poll()
    assert failures(site) == 0
    for arguments in (["--dry-run"], []):
        answer = notifyd("sources", "rewind", "jobs", "--to", "beginning", *arguments)
        assert "to be told, as filters and grouping have it: 3 sync_error" in answer.stdout
    past.poll()
    assert (failures(site), site.imbalances()) == (3, [])


@pytest.mark.usefixtures("read")
def test_a_dry_run_changes_nothing(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    jobs.add("error", "not read yet", job="late")
    before = site.query("SELECT * FROM cursors"), site.query("SELECT * FROM audit")
    answer = notifyd("sources", "rewind", "jobs", "--to", "beginning", "--dry-run", "--json")
    assert answer.json == {
        "source": "jobs",
        "from": "key 5",
        "to": "before its first row",
        "moved": False,
        "rows_not_read_before": 1,
        "rows": 6,
        "failures": 3,
        "new": {"sync_error": 1},
    }
    assert (site.query("SELECT * FROM cursors"), site.query("SELECT * FROM audit")) == before
    said = notifyd("sources", "rewind", "jobs", "--to", "beginning", "--dry-run").stdout
    assert "jobs: would be read on from its first row" in said
    assert "5 rows read again, and 1 row not read yet; 3 of these are failures" in said
    assert "to be told, as filters and grouping have it: 1 sync_error" in said
    past.poll()
    assert failures(site) == 3


@pytest.mark.usefixtures("read")
def test_rows_can_be_passed_by(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    for number in range(3):
        jobs.add("error", "a flood", job=str(number))
    answer = notifyd("sources", "rewind", "jobs", "--to", "now")
    assert "3 rows not read yet, 3 of them failures, are never read" in answer.stdout
    past.poll()
    assert failures(site) == 2
    (entry,) = site.query("SELECT action, object_name, changes FROM audit")
    assert entry[:2] == ("source.rewound", "jobs")
    assert "now" in entry[2]


@pytest.mark.usefixtures("read")
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["job", "--to", "now"], 2, 'no source is called "job"; did you mean "jobs"?'),
        (["jobs", "--to", "99"], 1, 'source "jobs": it has no row with the key 99'),
        (["jobs", "--to", "2026-99-99"], 1, 'source "jobs": it has no row with the key 2026-99-99'),
    ],
)
def test_a_place_that_there_is_not(notifyd: Notifyd, arguments: list[str], status: int, said: str) -> None:
    answer = notifyd("sources", "rewind", *arguments)
    assert (answer.exit_code, answer.stdout, answer.stderr) == (status, "", f"{said}\n")


def test_a_source_that_was_never_read(site: Site, jobs: JobLog, shop: SyncLog, past: Past, notifyd: Notifyd) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    past.poll()
    site.write(sources=[jobs.source("jobs"), shop.source("shop")], notifications=[hook("hook")])
    answer = notifyd("sources", "rewind", "shop", "--to", "now")
    assert (answer.exit_code, answer.stderr) == (1, 'shop was not read yet: its "start" says where it begins\n')


@pytest.mark.parametrize("cursor", ["key", "timestamp"])
def test_on_servers(server: Server, cursor: str, held: ExitStack, site: Site, past: Past, notifyd: Notifyd) -> None:
    """By key and by time; and a gap that is open stays so."""
    now = utc_now()
    server.run(f"CREATE TABLE jobs (id {server.key}, status varchar(20), at {server.times})")
    insert = "INSERT INTO jobs (status, at) VALUES ('error', '{:%F %T}')"
    slow = server.connect()
    held.callback(slow.close)
    slow.cursor().execute(insert.format(now))
    server.run(*(insert.format(now - timedelta(minutes=minutes)) for minutes in (50, 40, 0)))
    source = {
        "name": "jobs", "url": server.url, "table": "jobs", "cursor": cursor, "start": "beginning",
        "columns": {"key": "id", "status": "status", "occurred_at": "at"}, "statuses": {"failure": ["error"]},
    }  # fmt: skip
    site.write(sources=[source], notifications=[hook("hook")])
    past.poll()
    assert failures(site) == 4, "three, and three in a row"
    answer = notifyd("sources", "rewind", "jobs", "--to", "3", "--json")
    assert (answer.json["rows"], answer.json["failures"], answer.json["new"]) == (2, 2, {})
    past.poll()
    assert failures(site) == 4
    slow.commit()
    past.poll(now + timedelta(minutes=1))
    assert failures(site) == 5
    assert site.imbalances() == []


async def test_beside_a_running_daemon(site: Site, jobs: JobLog) -> None:
    """A busy one: what it reads meanwhile is lost to nobody, and nothing is told twice."""
    for number in range(300):
        jobs.add("error", "no", job=str(number))
    async with HttpSink() as sink:
        source = jobs.source("jobs", start="beginning", poll="100ms")
        site.write(sources=[source], notifications=[webhook("hook", sink.url, window="1s")])
        async with Process(site.file) as process:
            for number in range(20):
                jobs.add("error", "no", job=f"new {number}")
                answer = await aside("sources", "rewind", "jobs", "--to", "beginning", site=site)
                assert "the daemon reads from there at its next poll" in answer.stdout
            await until(lambda: site.value("SELECT COUNT(DISTINCT record_key) FROM events") == 320)
            await until(lambda: '"at":320' in site.value("SELECT cursor FROM cursors"))
            assert process.lines("bug") == []
        assert site.value("SELECT COUNT(*) FROM events WHERE event_type = 'sync_error'") == 320
        assert site.imbalances() == []
