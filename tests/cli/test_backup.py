"""`notifyd backup`, `restore` and `vacuum`."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from notifyd.store.lock import Lock, alone
from tests.cli.conftest import Notifyd, Past, from_beginning, hook
from tests.sinks.log import JobLog
from tests.system.site import Site


@pytest.fixture
def lived(site: Site, jobs: JobLog, past: Past) -> None:
    """A failure that was told."""
    jobs.write([JobLog.row("error", "no", job="daily")])
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    past.attempt()


def events(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        (number,) = connection.execute("SELECT COUNT(*) FROM events").fetchone()
    return int(number)


def assert_ends(site: Site, words: str) -> None:
    """The daemon ends at once with 3, and one line that has these words."""
    command = [sys.executable, "-m", "notifyd", "run", "--config", str(site.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("lived")
def test_a_backup_beside_a_daemon_is_put_back_once_it_is_stopped(
    site: Site, notifyd: Notifyd, past: Past, jobs: JobLog, tmp_path: Path
) -> None:
    file = tmp_path / "backup.db"
    with alone(site.state):
        answer = notifyd("backup", str(file))
        assert (answer.exit_code, answer.stderr) == (0, "")
        assert answer.stdout.startswith(f"{site.state} is copied to {file} (")
        jobs.write([JobLog.row("error", "no", job="weekly")])
        past.poll()
        refused = notifyd("restore", str(file))
        assert refused.exit_code == 1
        assert refused.stderr == f"a notifyd runs on the state DB {site.state}: stop it first\n"
    assert events(site.state) == 2
    answer = notifyd("restore", str(file))
    assert answer.exit_code == 0
    assert "what was told since then is told again" in answer.stdout
    (kept,) = tmp_path.glob("state.db.before-restore-*Z")
    assert (events(site.state), events(kept)) == (1, 2)
    past.poll()
    assert events(site.state) == 2
    assert site.imbalances() == []


@pytest.mark.usefixtures("lived")
def test_into_a_folder_it_gets_a_name_and_json_says_which(site: Site, notifyd: Notifyd, tmp_path: Path) -> None:
    site.state.with_name("state.db.key").write_text("k" * 44)
    (tmp_path / "backups").mkdir()
    answer = notifyd("backup", str(tmp_path / "backups"), "--json").json
    (file,) = (tmp_path / "backups").iterdir()
    assert answer == {"file": str(file), "bytes": file.stat().st_size, "key": f"{site.state}.key"}
    assert file.name.startswith("state-2")
    assert "without that key the secrets" in notifyd("backup", str(tmp_path / "backups")).stderr


@pytest.mark.usefixtures("lived")
def test_a_backup_replaces_a_backup_and_nothing_else(
    site: Site, notifyd: Notifyd, jobs: JobLog, tmp_path: Path
) -> None:
    """Not even another SQLite file: a sync log is one."""
    file, rows = tmp_path / "backup.db", jobs.path.read_bytes()
    file.touch()
    for _ in range(2):
        assert notifyd("backup", str(file)).exit_code == 0
    (tmp_path / "diary.txt").write_text("Dear diary")
    for target in (tmp_path / "diary.txt", site.state, jobs.path, tmp_path / "no/folder.db"):
        assert notifyd("backup", str(target)).exit_code == 2
    assert (tmp_path / "diary.txt").read_text() == "Dear diary"
    assert jobs.path.read_bytes() == rows
    site.state.unlink()
    assert notifyd("backup", str(file)).exit_code == 1


@pytest.mark.usefixtures("lived")
def test_what_is_no_backup_is_not_put_back(site: Site, notifyd: Notifyd, jobs: JobLog, tmp_path: Path) -> None:
    notifyd("backup", str(tmp_path / "torn.db"))
    with (tmp_path / "torn.db").open("r+b") as torn:
        torn.truncate(40_000)
    (tmp_path / "diary.txt").write_text("Dear diary, " * 100)
    for file in ("torn.db", "diary.txt", "jobs.db"):
        answer = notifyd("restore", str(tmp_path / file))
        assert answer.exit_code == 1, file
        assert answer.stderr.startswith(f"{tmp_path / file}")
        assert answer.stderr.count("\n") == 1
    for file in ("nothing.db", "state.db"):
        assert notifyd("restore", str(tmp_path / file)).exit_code == 2
    assert events(site.state) == 1
    assert site.imbalances() == []
    assert not list(tmp_path.glob("*.restoring*"))


@pytest.mark.usefixtures("lived")
def test_one_that_was_deleted_is_missed_until_it_is_put_back(site: Site, notifyd: Notifyd, tmp_path: Path) -> None:
    notifyd("backup", str(tmp_path / "backup.db"))
    site.state.unlink()
    assert_ends(site, "is gone, though there was one")
    for command in (["status"], ["token", "create", "--name", "ci", "--permission", "manage_settings"]):
        answer = notifyd(*command)
        assert answer.exit_code == 1
        assert "is gone, though there was one" in answer.stderr
        assert answer.stderr.count("\n") == 1
    assert not site.state.exists()
    assert notifyd("restore", str(tmp_path / "backup.db")).exit_code == 0
    assert notifyd("status").exit_code == 0


def test_a_broken_one_ends_the_daemon_with_3(site: Site, jobs: JobLog) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[hook("hook")])
    site.state.write_text("Dear diary, " * 100)
    assert_ends(site, f"the state DB {site.state} cannot be used: file is not a database; ")


@pytest.mark.usefixtures("lived")
def test_vacuum(site: Site, notifyd: Notifyd) -> None:
    with alone(site.state):
        assert notifyd("vacuum").exit_code == 1
    assert not Lock(site.state).held()
    answer = notifyd("vacuum", "--json").json
    assert answer["bytes"] == site.state.stat().st_size
    assert " MB now" in notifyd("vacuum").stdout
