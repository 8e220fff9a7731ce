"""The linters, as tests: what they complain of is the failure's text."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("linter", ["ruff check", "ruff format --check", "mypy"])
def test_the_linter_is_content(linter: str) -> None:
    """mypy is strict, over notifyd and notifyd_plugins: pyproject.toml says so."""
    done = subprocess.run(
        [sys.executable, "-m", *linter.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
