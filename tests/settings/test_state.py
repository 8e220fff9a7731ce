"""Where the state DB is: a file of its own, by its own name."""

from __future__ import annotations

from pathlib import Path

import pytest

from notifyd.settings import SettingsError, load_around, sqlite_url
from tests.settings.folders import Folder

SHOP = """
[[sources]]
name = "shop"
url = "sqlite:///{name}"
table = "jobs"
columns.key = "id"
columns.status = "state"
statuses.failure = ["error"]
"""
IS_THE_LOG = '2: daemon.state: is the sync log of the source "shop"; give a file of its own'


def settings(state: str, log: str) -> str:
    return f'[daemon]\nstate = "sqlite:///{state}"\n{SHOP.format(name=log)}'


@pytest.mark.parametrize("state", ["shop.db", "./folder/../shop.db", "link.db", "hard.db", "back/shop.db"])
def test_it_is_not_the_sync_log_by_whatever_name(folder: Folder, state: str) -> None:
    (folder.path / "shop.db").touch()
    (folder.path / "folder").mkdir()
    (folder.path / "back").symlink_to(folder.path)
    (folder.path / "link.db").symlink_to("shop.db")
    (folder.path / "hard.db").hardlink_to(folder.path / "shop.db")
    text = settings(state, "shop.db")
    assert folder.problems(text) == [IS_THE_LOG]
    with pytest.raises(SettingsError, match="is the sync log"):
        load_around(folder.file)


def test_also_where_neither_is_there_yet(folder: Folder) -> None:
    assert folder.problems(settings("new.db", "new.db")) == [IS_THE_LOG]
    assert folder.load(settings("new.db", "other.db")).sources


def test_also_where_it_is_there_by_default(folder: Folder) -> None:
    (line,) = folder.problems(SHOP.format(name="notifyd.db"))
    assert line == (
        '4: sources["shop"].url: is the file that notifyd keeps its state in, as daemon.state does not say otherwise'
    )


def test_a_link_is_followed_so_that_all_that_is_beside_it_is_in_one_place(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (folder.path / "link.db").symlink_to(tmp_path / "disk/state.db")
    assert folder.load('daemon.state = "sqlite:///link.db"').daemon.state == sqlite_url(tmp_path / "disk/state.db")
