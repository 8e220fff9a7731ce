"""`notifyd completion`: the shells that are here read it, and complete with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import invoke

BIN = Path(sys.executable).parent


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash here")
def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    script = tmp_path / "notifyd"
    script.write_text(invoke("completion", "bash").stdout)
    wanted = {"notifyd rel": ["reload"], "notifyd check --d": ["--diff"], "notifyd service un": ["uninstall"]}
    for words, found in wanted.items():
        asks = f"COMP_WORDS=({words}); COMP_CWORD={len(words.split()) - 1}; _notifyd_completion notifyd"
        done = run("bash", "-c", f'. {script}; {asks}; echo "${{COMPREPLY[@]}}"')
        assert (done.stdout.split(), done.stderr) == (found, "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_others_can_read_it(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "notifyd"
    script.write_text(invoke("completion", shell).stdout)
    assert "_NOTIFYD_COMPLETE" in script.read_text()
    if shutil.which(shell):
        assert run(shell, "-n", str(script)).returncode == 0


def test_there_are_no_others() -> None:
    assert invoke("completion", "tcsh").exit_code == 2
