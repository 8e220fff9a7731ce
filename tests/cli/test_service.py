"""`notifyd service install` and `uninstall`, for each way in which notifyd may have been installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import invoke

UNIT = "etc/systemd/system/notifyd.service"
WRITTEN = {UNIT, "etc/sysusers.d/notifyd.conf", "etc/tmpfiles.d/notifyd.conf"}
BACKOFF = "etc/systemd/system/notifyd.service.d/backoff.conf"  # where systemd knows it


@pytest.fixture
def prefix(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The interpreter's home is said to be there; the rest is as it is."""
    monkeypatch.setattr(sys, "prefix", request.param)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return str(request.param)


def written(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} - {BACKOFF}


@pytest.mark.parametrize("prefix", ["/opt/notifyd", "/opt/pipx/venvs/notifyd", "/srv/uv/tools/notifyd"], indirect=True)
def test_the_unit_runs_what_is_installed(prefix: str, tmp_path: Path) -> None:
    answer = invoke("service", "install", "--root", str(tmp_path))
    assert answer.exit_code == 0, answer.stderr
    assert written(tmp_path) == WRITTEN
    unit = (tmp_path / UNIT).read_text()
    assert f"\nExecStart={prefix}/bin/notifyd run --config /etc/notifyd/notifyd.toml\n" in unit
    assert f"\nExecReload={prefix}/bin/notifyd reload --config" in unit
    assert "/usr/bin/notifyd" not in unit
    assert "systemctl enable --now notifyd" in answer.stdout
    assert f"{prefix}/bin/notifyd init /etc/notifyd/notifyd.toml" in answer.stdout

    again = invoke("service", "install", "--root", str(tmp_path))
    assert again.exit_code == 0
    gone = invoke("service", "uninstall", "--root", str(tmp_path))
    assert gone.exit_code == 0
    assert "systemctl disable --now notifyd" in gone.stdout
    assert written(tmp_path) == set()
    assert "there is nothing" in invoke("service", "uninstall", "--root", str(tmp_path)).stdout


@pytest.mark.parametrize(
    "prefix", ["/home/ann/.local/share/pipx/venvs/notifyd", "/home/bob/venv", "/tmp/venv"], indirect=True
)
def test_what_the_account_cannot_reach_is_refused(prefix: str, tmp_path: Path) -> None:
    answer = invoke("service", "install", "--root", str(tmp_path))
    assert (answer.exit_code, answer.stdout, written(tmp_path)) == (1, "", set())
    assert "sudo pipx install --global notifyd" in answer.stderr


@pytest.mark.parametrize("prefix", ["/opt/our tools/notifyd"], indirect=True)
def test_a_path_that_a_unit_would_read_otherwise_is_refused(prefix: str, tmp_path: Path) -> None:
    answer = invoke("service", "install", "--root", str(tmp_path))
    assert (answer.exit_code, written(tmp_path)) == (1, set())


@pytest.mark.parametrize("prefix", ["/usr/lib/notifyd"], indirect=True)
def test_a_package_has_its_own(prefix: str, tmp_path: Path) -> None:
    packaged = tmp_path / "usr/lib/systemd/system/notifyd.service"
    packaged.parent.mkdir(parents=True)
    packaged.write_text("[Unit]\n")
    answer = invoke("service", "install", "--root", str(tmp_path))
    assert "the package brought its own unit" in answer.stdout
    assert "systemctl enable --now notifyd" in answer.stdout
    assert not (tmp_path / UNIT).exists()


@pytest.mark.parametrize("prefix", ["/opt/notifyd"], indirect=True)
def test_a_dry_run_writes_nothing_and_what_others_wrote_stays(prefix: str, tmp_path: Path) -> None:
    shown = invoke("service", "install", "--root", str(tmp_path), "--dry-run")
    assert f"--- {tmp_path / UNIT}" in shown.stdout
    assert "\nWatchdogSec=2min\n" in shown.stdout
    assert written(tmp_path) == set()
    (tmp_path / UNIT).parent.mkdir(parents=True)
    (tmp_path / UNIT).write_text("[Unit]\nDescription=somebody's\n")
    refused = invoke("service", "install", "--root", str(tmp_path))
    assert refused.exit_code == 1
    assert "was left as it is" in refused.stderr
    assert "there is nothing" in invoke("service", "uninstall", "--root", str(tmp_path)).stdout
    assert written(tmp_path) == {UNIT}
