from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.settings.folders import PAGER, Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def with_pager(folder: Folder) -> Folder:
    """A folder whose plugins_dir, "plugins", holds the channel pager and the filter office_hours."""
    folder.plugin("pager.py", PAGER)
    return folder


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[None]:
    """As a user whom permissions bind, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)
