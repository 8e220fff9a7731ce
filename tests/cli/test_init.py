"""`notifyd init`: a settings file to begin with."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from notifyd.settings import default_config_text
from tests.cli.conftest import invoke


def test_it_writes_the_defaults_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "notifyd.toml"
    answer = invoke("init", str(path))
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert path.read_text(encoding="utf-8") == default_config_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"notifyd check --config {path}" in answer.stdout
    assert f"notifyd run --config {path}" in answer.stdout


def test_what_it_writes_can_be_checked(tmp_path: Path) -> None:
    path = tmp_path / "notifyd.toml"
    invoke("init", str(path))
    answer = invoke("check", "--config", str(path))
    assert answer.exit_code == 0
    assert "there is no [[sources]] yet" in answer.stdout


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notifyd.toml"
    path.write_text("mine")
    answer = invoke("init", str(path))
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr == f"{path} is there already, and was left as it is\n"
    assert path.read_text() == "mine"


def test_it_follows_no_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "notifyd.toml").symlink_to(tmp_path / "elsewhere")
    assert invoke("init", str(tmp_path / "notifyd.toml")).exit_code == 1
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("given", ["option", "environment"])
def test_where_to_is_the_settings_file_unless_told_otherwise(tmp_path: Path, given: str) -> None:
    path = str(tmp_path / "notifyd.toml")
    answer = invoke("init", "--config", path) if given == "option" else invoke("init", NOTIFYD_CONFIG=path)
    assert answer.exit_code == 0
    assert Path(path).is_file()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    answer = invoke("init", str(tmp_path / "nowhere" / "notifyd.toml"))
    assert answer.exit_code == 1
    assert answer.stderr.endswith(f"there is no folder {tmp_path / 'nowhere'}; make it first\n")


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = invoke("init", str(tmp_path / "file" / "notifyd.toml"))
    assert answer.exit_code == 1
    assert answer.stderr.endswith("cannot be written: not a directory\n")
