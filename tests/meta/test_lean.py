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


def test_what_was_hidden_is_there_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with without("only_here", "json"):
        assert "json" in sys.modules
        with pytest.raises(ImportError):
            importlib.import_module("only_here")
    assert importlib.import_module("only_here")
