"""The sdist, the wheel built from it, and a fresh virtualenv with the wheel and what it declares to need."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

import notifyd
from tests.system.installed import NOT_SOURCE, needed_by, parts
from tests.system.third_party import Journey

ROOT = Path(__file__).parents[2]


class Tool(NamedTuple):
    """Installs commands, each in a virtualenv of its own: how it is called, and what says where it puts them."""

    words: tuple[str, ...]
    places: dict[str, str]


TOOLS = {
    "pipx": Tool((), {"HOME": "home", "PIPX_HOME": "pipx", "PIPX_BIN_DIR": "bin"}),
    "uv": Tool(("tool",), {"HOME": "home", "UV_TOOL_DIR": "uv", "UV_TOOL_BIN_DIR": "bin", "UV_CACHE_DIR": "cache"}),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel made from it, out of a copy of the tree that holds no build leftovers."""
    source, out = tmp_path_factory.mktemp("clone") / "notifyd", tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, source, symlinks=True, ignore=NOT_SOURCE)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source))
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [path] = built.glob("notifyd-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh virtualenv that has the wheel, and only what the wheel says that it needs."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)
    [packages] = home.glob("lib/python*/site-packages")
    for distribution in needed_by(wheel):
        link(distribution, packages)
    python = str(home / "bin" / "python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", str(wheel))
    return home / "bin"


def run(*command: str, **environ: str) -> str:
    """What the command printed; its failure is the test's, with all that it said."""
    surroundings = {key: text for key, text in os.environ.items() if not key.startswith(("PYTHON", "NOTIFYD"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=surroundings | environ)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def link(distribution: metadata.Distribution, packages: Path) -> None:
    """Put the distribution's files, as they are installed here, into another site-packages."""
    for name, path in parts(distribution).items():
        (packages / name).symlink_to(path)


def source_files() -> dict[str, Path]:
    """Every file that an installation must have, by its name in the wheel."""
    return {
        f"{package}/{path.relative_to(ROOT / folder)}": path
        for folder, package in (("notifyd", "notifyd"), ("plugins", "notifyd_plugins"))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md"
    }


def test_the_wheel_has_every_file_of_both_packages_as_it_is(wheel: Path) -> None:
    """Code, plugins, presets, migrations, templates, the default settings and the unit: links are real files there."""
    expected = {name: path.read_bytes() for name, path in source_files().items()}
    with zipfile.ZipFile(wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []


def test_the_sdist_has_what_the_wheel_is_built_from(built: Path) -> None:
    [path] = built.glob("notifyd-*.tar.gz")
    with tarfile.open(path) as archive:
        found = {member.name.split("/", 1)[-1] for member in archive.getmembers() if member.isfile()}
    expected = {name.replace("notifyd_plugins/", "plugins/") for name in source_files()}
    assert {*expected, "pyproject.toml", "README.md", "LICENSE"} - found == set()


@pytest.mark.parametrize(
    "name",
    [
        "notifyd/files/notifyd.toml",
        "notifyd/files/notifyd.service",
        "notifyd/files/notifyd.sysusers",
        "notifyd/sources/presets/easysale.toml",
        "notifyd/sources/presets/easysale-runs.toml",
        "notifyd_plugins/email/channel.py",
    ],
)
def test_what_the_guides_promise_is_in_the_wheel(wheel: Path, name: str) -> None:
    assert zipfile.Path(wheel, name).is_file()


def test_the_fresh_virtualenv_runs_what_the_wheel_brought(installed: Path) -> None:
    where = "import notifyd, notifyd_plugins; print(notifyd.__file__, notifyd_plugins.__file__)"
    for path in run(str(installed / "python"), "-c", where).split():
        assert Path(path).is_relative_to(installed.parent)


def test_the_installed_command_says_its_version(installed: Path) -> None:
    assert notifyd.__version__ in run(str(installed / "notifyd"), "--version")


def test_the_installed_command_finds_its_plugins(installed: Path) -> None:
    listing = json.loads(run(str(installed / "notifyd"), "plugins", "--json"))
    assert {"email", "slack", "webhook"} <= {item["name"] for item in listing["items"]}


def test_the_installed_command_writes_the_default_settings(installed: Path, tmp_path: Path) -> None:
    settings = tmp_path / "notifyd.toml"
    run(str(installed / "notifyd"), "init", str(settings))
    assert settings.read_bytes() == (ROOT / "config" / "notifyd.toml").read_bytes()
    assert f"{settings} is right" in run(str(installed / "notifyd"), "check", "--config", str(settings))


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("CI"), reason="it asks a package index for the tool and more; CI has it")
@pytest.mark.parametrize("tool", TOOLS)
def test_the_tools_for_commands_install_and_remove_it(tool: str, wheel: Path, tmp_path: Path) -> None:
    """As the guides say; the tool itself is installed for the test, and writes beneath its folder only."""
    venv.create(tmp_path / "tool", with_pip=False)
    python = str(tmp_path / "tool" / "bin" / "python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", tool)
    places = {key: str(tmp_path / folder) for key, folder in TOOLS[tool].places.items()}
    commands = [str(tmp_path / "tool" / "bin" / tool), *TOOLS[tool].words]
    notifyd_there = tmp_path / "bin" / "notifyd"
    run(*commands, "install", "--python", sys.executable, str(wheel), **places)
    assert notifyd.__version__ in run(str(notifyd_there), "--version")
    assert "webhook" in run(str(notifyd_there), "plugins")
    run(*commands, "uninstall", "notifyd", **places)
    assert not notifyd_there.exists()


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("CI"), reason="it takes the better part of a minute; CI has it")
def test_a_plugin_of_somebody_else_goes_all_its_way(installed: Path, tmp_path: Path) -> None:
    """From its scaffold to its end, beside the wheel of notifyd."""
    journey = Journey(installed / "python", tmp_path)
    journey.travel()
    assert list(journey.seconds)[-1] == "uninstalled, and missed by name"
