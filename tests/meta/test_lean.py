"""A daemon without HTTP on SQLite loads nothing that it has no use for: memory is counted in modules here, and in
megabytes by tests/bench/bench_footprint.py."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from notifyd.lean import without

UNUSED = ("rich", "psycopg", "pymysql", "fastapi", "uvicorn", "playhouse", "prometheus_client", "apprise", "pygments")


def test_what_a_daemon_has_no_use_for_is_not_loaded() -> None:
    code = "import sys, notifyd.cli.run; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "peewee" in loaded
    assert set(UNUSED) & set(loaded) == set()


OF_CHANNELS_NOT_IN_USE = ("aiosmtplib", "apprise", "email.headerregistry")

A_START = """
import sys, notifyd.cli.run
from notifyd.plugin_host import discover
from notifyd.store.database import open_database
open_database("sqlite:///" + sys.argv[1], create=True)
built = [name for name, each in discover(None).channels.items() if each.cls.Options.__pydantic_complete__]
print(*sys.modules, *(f"options of {name}" for name in built), sep="\\n")
"""


def test_nor_is_what_only_channels_use_that_no_config_has(tmp_path: Path) -> None:
    start = [sys.executable, "-c", A_START, str(tmp_path / "state.db")]
    loaded = subprocess.run(start, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"notifyd_plugins.email", "playhouse.migrations"} < set(loaded)
    assert {*OF_CHANNELS_NOT_IN_USE, "playhouse.postgres_ext"} & set(loaded) == set()
    assert [line for line in loaded if line.startswith("options of")] == []


def test_what_was_hidden_is_there_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with without("only_here", "json"):
        assert "json" in sys.modules
        with pytest.raises(ImportError):
            importlib.import_module("only_here")
    assert importlib.import_module("only_here")
