"""`notifyd check`: the settings file, its sources, and how their rows are understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Notifyd, Past, hook
from tests.sinks.log import JobLog
from tests.system.site import Site


def test_a_file_that_is_right(site: Site, jobs: JobLog, notifyd: Notifyd) -> None:
    keys = [jobs.add("ok", job="nightly"), jobs.add("error", "500: [bold]out[/] of stock", job="hourly")]
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    answer = notifyd("check")
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert "Source jobs: how its newest rows are understood" in answer.stdout
    newest, older = [line for line in answer.stdout.splitlines() if " → " in line]
    assert newest.split()[:5] == [keys[1], "error", "→", "failure", "hourly"]
    assert older.split()[:5] == [keys[0], "ok", "→", "success", "nightly"]
    assert "500: [bold]out[/] of stock" in newest
    assert answer.stdout.endswith(f"{site.file} is right: 1 source, 1 notification config, 0 warnings\n")
    assert not site.state.exists()


def test_the_same_as_json(site: Site, jobs: JobLog, notifyd: Notifyd) -> None:
    jobs.add("error", "no")
    jobs.add("odd")
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    found = notifyd("check", "--json").json
    (source,) = found["sources"]
    assert [row["status"] for row in source["rows"]] == ["unmapped", "failure"]
    assert source["statuses"] == [
        {"value": "odd", "count": 1, "status": "unmapped"},
        {"value": "error", "count": 1, "status": "failure"},
    ]
    assert (found["file"], found["problems"], len(found["warnings"])) == (str(site.file), [], 1)


def test_how_the_log_is_read(site: Site, jobs: JobLog, notifyd: Notifyd) -> None:
    jobs.add("ok")
    columns = {"key": "id", "status": "status", "occurred_at": "ended_at"}
    by_time = jobs.source("by time", cursor="timestamp", columns=columns)
    site.write(sources=[jobs.source("jobs"), by_time], notifications=[hook("hook")])
    answer = notifyd("check")
    assert 'Source jobs: read by column "id", held by the last rows that were read' in answer.stdout
    assert (
        'warning: source by time: table "jobs" has no index on "ended_at": each poll reads all of it' in answer.stdout
    )
    about = {source["name"]: source["about"] for source in notifyd("check", "--json").json["sources"]}
    assert [one["strategy"] for one in about.values()] == ["key", "timestamp"]
    assert about["jobs"]["clock_ahead_seconds"] is None, "SQLite has no clock but ours"


def test_a_source_that_seems_to_be_renamed(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    jobs.add("ok")
    site.write(sources=[jobs.source("old")], notifications=[hook("hook")])
    past.poll()
    site.write(sources=[jobs.source("new")], notifications=[hook("hook")])
    assert 'warning: new reads what "old" read, which is in the file no more' in notifyd("check").stdout
    site.write(sources=[jobs.source("new", id="old")], notifications=[hook("hook")])
    assert "0 warnings" in notifyd("check").stdout


def test_statuses_that_no_mapping_names(site: Site, jobs: JobLog, notifyd: Notifyd) -> None:
    for status in ("odd", "odd", None):
        jobs.add(status)
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    answer = notifyd("check")
    assert answer.exit_code == 0
    assert 'warning: source jobs: the status "odd" of 2 rows is unmapped' in answer.stdout
    assert "warning: source jobs: the status NULL of 1 row is unmapped" in answer.stdout
    assert 'list it under [sources.statuses] as "NULL"' in answer.stdout


def test_rows_that_would_be_set_aside(site: Site, jobs: JobLog, notifyd: Notifyd) -> None:
    key = jobs.add("ok", "{not json")
    columns = {"key": "id", "status": {"column": "error", "json": "status"}}
    site.write(sources=[jobs.source("jobs", columns=columns)], notifications=[hook("hook")])
    answer = notifyd("check")
    assert answer.exit_code == 0
    assert (
        f"warning: source jobs: row {key} would be set aside: its status is inside JSON that is malformed"
        in answer.stdout
    )


def test_every_problem_at_once_and_exit_2(site: Site, notifyd: Notifyd) -> None:
    site.file.write_text('[daemon]\nlog_levle = "info"\n\n[[notifications]]\nname = "x"\nnotification_type = "slak"\n')
    answer = notifyd("check")
    assert (answer.exit_code, answer.stdout) == (2, "")
    first, *_, last = answer.stderr.splitlines()
    assert first.startswith(f'{site.file}:2: daemon.log_levle: unknown key; did you mean "log_level"?')
    assert last.startswith(f"{site.file}:6: ")
    problems = notifyd("check", "--json")
    assert problems.exit_code == 2
    assert [problem["line"] for problem in problems.json["problems"]] == [2, 6]


def test_a_source_that_cannot_be_read_is_exit_1(site: Site, jobs: JobLog, tmp_path: Path, notifyd: Notifyd) -> None:
    """And the others are shown all the same."""
    jobs.add("ok")
    missing = jobs.source_at(tmp_path / "nowhere.db", "missing")
    site.write(sources=[missing, jobs.source("jobs")], notifications=[hook("hook")])
    answer = notifyd("check")
    assert answer.exit_code == 1
    assert answer.stderr == f'source "missing": no such file: {tmp_path / "nowhere.db"}\n'
    assert "ok → success" in answer.stdout
    assert answer.stdout.splitlines()[-1].startswith(f"{site.file} is right, but 1 source cannot be read: 2 sources, ")
    found = notifyd("check", "--json").json
    assert [source["error"] is None for source in found["sources"]] == [False, True]


@pytest.mark.parametrize(
    ("sources", "notifications", "expected"),
    [
        (0, [], ["there is no [[sources]] yet, so nothing is read", "so nobody is told of anything"]),
        (1, [hook("hook", enabled=False)], ["no [[notifications]] is enabled, so nobody is told of anything"]),
        (-1, [hook("hook")], ["no [[sources]] is enabled, so nothing is read"]),
    ],
)
def test_a_file_that_asks_for_nothing(
    site: Site,
    jobs: JobLog,
    notifyd: Notifyd,
    sources: int,
    notifications: list[dict[str, object]],
    expected: list[str],
) -> None:
    tables = [jobs.source("jobs", enabled=sources > 0)] if sources else []
    site.write(sources=tables, notifications=notifications)
    answer = notifyd("check")
    assert answer.exit_code == 0
    for text in expected:
        assert text in answer.stdout


def test_a_credential_is_not_checked_outside_of_the_unit(
    site: Site, jobs: JobLog, notifyd: Notifyd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    secret = hook("hook", config={"url": {"credential": "hook"}})
    site.write(sources=[jobs.source("jobs")], notifications=[secret])
    answer = notifyd("check")
    assert answer.exit_code == 0
    assert "note: " in answer.stdout
    assert "the credential hook is not checked here" in answer.stdout


def test_a_secret_that_is_missing_is_a_problem_here_and_nowhere_else(
    site: Site, jobs: JobLog, notifyd: Notifyd
) -> None:
    """What only reads resolves no secrets: it says what it would say with them."""
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook", config={"url": {"env": "NO_SUCH_URL"}})])
    assert (notifyd("check").exit_code, notifyd("check").stdout) == (2, "")
    for command in ("status", "history", "deliveries", "sources"):
        answer = notifyd(command)
        assert (answer.exit_code, answer.stderr.startswith("there is no state DB")) == (1, True)


def test_plugins_that_cannot_be_used_are_warned_about(
    site: Site, jobs: JobLog, tmp_path: Path, notifyd: Notifyd
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "pager.py").write_text("import nowhere\n")
    site.write(
        sources=[jobs.source("jobs")], notifications=[hook("hook")], daemon={"plugins_dir": str(tmp_path / "plugins")}
    )
    answer = notifyd("check")
    assert answer.exit_code == 0
    assert f"warning: {tmp_path / 'plugins' / 'pager.py'}: could not be loaded: ModuleNotFoundError" in answer.stdout


def test_links_that_lead_nowhere_are_warned_about(site: Site, jobs: JobLog, notifyd: Notifyd) -> None:
    http = {"public_url": "https://notifyd.example.com"}
    for listen, warned in (("", True), ("127.0.0.1:8321", False)):
        site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")], http={**http, "listen": listen})
        assert ("warning: http.public_url: links lead nowhere" in notifyd("check").stdout) is warned


def test_an_empty_log(site: Site, jobs: JobLog, notifyd: Notifyd) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    assert "source jobs: no rows yet" in notifyd("check").stdout


def test_it_writes_nothing(site: Site, jobs: JobLog, notifyd: Notifyd) -> None:
    jobs.add("error", "no")
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    before = sorted(site.folder.iterdir())
    assert notifyd("check").exit_code == 0
    assert sorted(site.folder.iterdir()) == before
