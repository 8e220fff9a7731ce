"""The house's import contracts (pyproject.toml): kept by the tree, and each of them able to fail."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FORBIDDEN_IMPORTS = [
    pytest.param("layers", "notifyd/model.py", "import notifyd.settings", id="upwards"),
    pytest.param("layers", "notifyd/observe/__init__.py", "import notifyd.outbound", id="sideways"),
    pytest.param("plugins", "plugins/slack.py", "from notifyd.model import Event", id="plugins"),
    pytest.param("pure", "notifyd/core/__init__.py", "import time", id="pure"),
    pytest.param("peewee", "notifyd/web/__init__.py", "import peewee", id="peewee"),
    pytest.param("httpx", "plugins/webhook.py", "import httpx", id="httpx"),
    pytest.param("web", "notifyd/web/__init__.py", "import notifyd.sources", id="web"),
    pytest.param("kit", "notifyd/lane.py", "import notifyd.api.testing", id="kit"),
]


def lint_imports(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Check the packages that stand in `folder` against its pyproject.toml."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The two packages by their import names, and the contracts, to break at will."""
    for folder, package in (("notifyd", "notifyd"), ("plugins", "notifyd_plugins")):
        shutil.copytree(ROOT / folder, tmp_path / package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_contract_is_kept() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("contract", "file", "statement"), FORBIDDEN_IMPORTS)
def test_a_forbidden_import_breaks_its_contract(copy: Path, contract: str, file: str, statement: str) -> None:
    module = copy / file.replace("plugins/", "notifyd_plugins/")
    module.write_text(f"{module.read_text(encoding='utf-8')}\n{statement}\n", encoding="utf-8")
    done = lint_imports(copy, "--contract", contract)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 broken" in done.stdout


def test_every_contract_was_seen_to_fail() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    assert {contract["id"] for contract in contracts} == {str(case.values[0]) for case in FORBIDDEN_IMPORTS}
