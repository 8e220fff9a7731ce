"""`notifyd man`: a page that man has nothing to say against, with every command and option in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from notifyd.__main__ import application
from tests.cli.conftest import invoke


def page() -> str:
    return invoke("man").stdout


@pytest.mark.skipif(not shutil.which("man") and not os.environ.get("CI"), reason="there is no man here")
def test_man_reads_it_without_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "notifyd.1"
    file.write_text(page())
    environ = os.environ | {"MANWIDTH": "200", "LC_ALL": "C.UTF-8", "MANROFFOPT": "-ww"}
    done = subprocess.run(["man", "--warnings=w", "-l", file], capture_output=True, text=True, check=False, env=environ)
    assert (done.returncode, done.stderr) == (0, "")
    shown = re.sub(r".\x08|\x1b\[[\d;]*m", "", done.stdout)
    for text in ("notifyd token create [OPTIONS]", "-c, --config FILE", "notifyd sources [OPTIONS]", "EXIT STATUS"):
        assert text in shown


def test_it_has_every_command_and_option() -> None:
    shown = page().replace("\\", "")
    waiting = [("notifyd", typer.main.get_command(application()))]
    while waiting:
        name, command = waiting.pop()
        for option in (option for each in command.params for option in each.opts if option.startswith("--")):
            assert f"fB{option}fR" in shown or f"fB{option},fR" in shown, f"{name} {option}"
        parts = getattr(command, "commands", None) or {}
        waiting += [(f"{name} {part}", each) for part, each in parts.items()]
        assert parts or f'.SS "{name} ' in shown


def test_what_means_something_to_man_is_text() -> None:
    requests = [line for line in page().splitlines() if line.startswith(("'", "."))]
    assert [line for line in requests if not re.match(r"\.(TH|SH|SS|TP|B|BR)( |$)", line)] == []
