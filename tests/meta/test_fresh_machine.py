"""`make demo` and `make test` on a machine that lacks something: one line says what."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """As much of a fresh clone as making .venv takes."""
    for name in ("Makefile", ".ci/venv", "pyproject.toml", "README.md", "LICENSE", "notifyd/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """make as a person starts it, whatever make or pip configuration these tests run under."""
    surroundings = {key: text for key, text in os.environ.items() if not key.startswith(("PIP_", "MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=surroundings | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def complaint(clone: Path, python: str, **environ: str) -> str:
    """What `make .venv/.dev` says when it cannot be made with that interpreter."""
    done = make(clone, ".venv/.dev", f"PYTHON={python}", **environ)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not (clone / ".venv" / ".dev").exists()
    return done.stderr


def interpreter(folder: Path, script: str) -> str:
    """An interpreter that does as the shell script says."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_no_interpreter(clone: Path) -> None:
    said = complaint(clone, "no-such-python")
    assert "notifyd: this needs Python 3.11 or newer, and no-such-python here is missing." in said


def test_an_old_interpreter(clone: Path, tmp_path: Path) -> None:
    old = interpreter(tmp_path, '[ "$1" = --version ] && echo Python 3.9.2 || exit 1')
    said = complaint(clone, old)
    assert f"notifyd: this needs Python 3.11 or newer, and {old} here is Python 3.9.2." in said


def test_an_interpreter_without_its_venv_module(clone: Path, tmp_path: Path) -> None:
    """As Debian ships it."""
    bare = interpreter(tmp_path, f'[ "$1" = -m ] && exit 1 || exec {sys.executable} "$@"')
    said = complaint(clone, bare)
    version = "{}.{}".format(*sys.version_info)
    assert f"cannot make a virtual environment; on Debian and Ubuntu: apt install python{version}-venv" in said


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("CI"), reason="it makes a whole virtual environment; CI has it")
def test_no_package_index_within_reach(clone: Path) -> None:
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    said = complaint(clone, sys.executable, **nowhere)
    assert "notifyd: pip cannot reach a package index" in said


def test_the_help_lists_every_target() -> None:
    listing = make(ROOT, "help").stdout
    names = [line.split()[1] for line in listing.splitlines()]
    assert names == ["help", "demo", "test", "lint", "bench", "deb", "clean"]
