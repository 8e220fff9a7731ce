"""The systemd unit and its account, judged by systemd's own tools where they are installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "notifyd.service"
WORST_EXPOSURE = "15"  # of 100: systemd-analyze counts in tenths here


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


def needs(tool: str) -> pytest.MarkDecorator:
    """Skipped where the tool is not; CI has it, and fails without."""
    return pytest.mark.skipif(not shutil.which(tool) and not os.environ.get("CI"), reason=f"{tool} is not here")


@needs("systemd-analyze")
def test_systemd_has_nothing_to_say_against_the_unit(tmp_path: Path) -> None:
    """With /bin/true in the place of /usr/bin/notifyd, which verify would miss."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text(encoding="utf-8").replace("/usr/bin/notifyd", "/bin/true"), encoding="utf-8")
    done = run("systemd-analyze", "verify", copy)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs("systemd-analyze")
def test_the_sandbox_leaves_little_exposed() -> None:
    done = run("systemd-analyze", "security", "--offline=yes", f"--threshold={WORST_EXPOSURE}", UNIT)
    assert done.returncode == 0, done.stdout + done.stderr


@needs("systemd-sysusers")
def test_the_account_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "notifyd.sysusers")
    assert done.returncode == 0, done.stderr
    assert "notifyd:" in (tmp_path / "etc" / "passwd").read_text(encoding="utf-8")
    assert "notifyd:" in (tmp_path / "etc" / "group").read_text(encoding="utf-8")


@needs("systemd-tmpfiles")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "notifyd.sysusers")
    done = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", SYSTEMD / "notifyd.tmpfiles")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc/notifyd").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "etc/notifyd/credentials").stat().st_mode & 0o777 == 0o700


@needs("systemd-analyze")
def test_systemd_has_nothing_to_say_against_the_drop_in(tmp_path: Path) -> None:
    """Pauses that grow (backoff.conf) are for a systemd that is newer than some."""
    copy, drop_in = tmp_path / UNIT.name, tmp_path / f"{UNIT.name}.d"
    copy.write_text(UNIT.read_text(encoding="utf-8").replace("/usr/bin/notifyd", "/bin/true"), encoding="utf-8")
    drop_in.mkdir()
    shutil.copy(SYSTEMD / "other-user.conf", drop_in)
    done = run("systemd-analyze", "verify", copy)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_runs_as_the_account_and_the_guide_installs_both() -> None:
    unit, guide = UNIT.read_text(encoding="utf-8"), (SYSTEMD / "README.md").read_text(encoding="utf-8")
    assert "User=notifyd\n" in unit
    assert "u notifyd " in (SYSTEMD / "notifyd.sysusers").read_text(encoding="utf-8")
    assert "sudo notifyd service install\nsudo systemd-sysusers\nsudo systemd-tmpfiles --create notifyd.conf\n" in guide
