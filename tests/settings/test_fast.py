"""The extra `fast`, chosen by a setting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from notifyd import fast
from tests.system.process import ROOT
from tests.system.site import Site

WITHOUT = """
import importlib.util, sys
there = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "uvloop" else there(name, *more)
from notifyd.__main__ import main
main()
"""
"""The command on a machine that lacks a part of the extra."""


def test_it_is_used_where_it_is_there_and_as_was_said() -> None:
    assert fast.installed()
    assert [fast.chosen(wanted) for wanted in (None, True, False)] == [True, True, False]


def test_where_it_is_wanted_and_not_there_the_file_says_how_to_get_it(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write(daemon={"fast": True}, sources=[], notifications=[])
    told = _without(site, "check")
    assert "daemon.fast: needs what is not installed; pip install 'notifyd[fast]'" in told
    assert "Traceback" not in told


def test_where_it_is_not_there_nothing_is_missing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write(sources=[], notifications=[])
    assert "notifyd[fast]" not in _without(site, "check")


def _without(site: Site, command: str) -> str:
    arguments = [sys.executable, "-c", WITHOUT, command, "--config", str(site.file)]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=60)
    return done.stdout + done.stderr
