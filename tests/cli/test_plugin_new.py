"""`notifyd plugin new`: what it writes works at once, as a project and as a single file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifyd.conformance.server import HttpServer
from notifyd.plugin_host import discover
from notifyd.store.database import open_database
from tests.cli.conftest import invoke
from tests.system.site import Site

QUICK = "message or digest or word or declared or channel or filter or retry or described or bad or now or never"
"""Of the kit's checks those that need not wait; all of them run in tests/plugins/test_conformance.py."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtualenv of its own, which sees what is installed here too."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)
    [packages] = home.glob("lib/python*/site-packages")
    here = sysconfig.get_path("purelib")
    (packages / "layered.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    return home / "bin" / "python"


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as server:
        yield server


def run(*command: object, cwd: Path) -> str:
    """What the command printed; its failure is the test's."""
    surroundings = {
        key: text for key, text in os.environ.items() if not key.startswith(("PYTHON", "NOTIFYD", "PYTEST"))
    }
    done = subprocess.run(map(str, command), cwd=cwd, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def projects(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project of a channel and of a filter, both installed into the virtualenv."""
    folder = tmp_path_factory.mktemp("projects")
    assert invoke("plugin", "new", "sms-gate", "--into", str(folder)).exit_code == 0
    assert invoke("plugin", "new", "about", "--filter", "--into", str(folder)).exit_code == 0
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, *folder.iterdir(), cwd=folder)
    return folder


def using(site: Site, name: str, server: HttpServer, **daemon: str) -> None:
    """A settings file with a config of this channel, and a state DB beside it."""
    config = {"name": f"my-{name}", "notification_type": name, "config": {"url": server.url, "token": "a-secret-token"}}
    site.write(sources=[], notifications=[config], daemon=daemon)
    open_database(f"sqlite:///{site.state}", create=True).close()


def test_a_channel_project_is_installed_tested_and_used(
    python: Path, projects: Path, tmp_path: Path, site: Site, server: HttpServer
) -> None:
    said = run(python, "-m", "pytest", "-q", "-k", QUICK, cwd=projects / "notifyd-sms-gate")
    assert re.search(r"\d+ passed, \d+ deselected", said)
    assert "notifyd: the channel sms-gate" in said
    using(site, "sms-gate", server)
    assert "sms-gate (channel): Sends each notification to sms-gate." in run(
        python, "-m", "notifyd", "plugins", "sms-gate", "--config", site.file, cwd=tmp_path
    )
    run(python, "-m", "notifyd", "test", "my-sms-gate", "--config", site.file, cwd=tmp_path)
    (request,) = server.requests
    assert request.json()["title"] == "Test Notification"


def test_a_filter_project_is_right(python: Path, projects: Path) -> None:
    said = run(python, "-m", "pytest", "-q", cwd=projects / "notifyd-about")
    assert "notifyd: the filter about" in said
    assert "✗" not in said


def test_a_single_file_is_a_plugin_where_it_is_dropped(tmp_path: Path, site: Site, server: HttpServer) -> None:
    folder = tmp_path / "plugins"
    for name, options in (("pager", ()), ("about", ("--filter",))):
        assert invoke("plugin", "new", name, "--single-file", *options, "--into", str(folder)).exit_code == 0
    registry = discover(folder)
    assert registry.problems == ()
    assert {"pager"} <= set(registry.channels)
    assert {"about"} <= set(registry.filters)
    using(site, "pager", server, plugins_dir=str(folder))
    assert invoke("test", "my-pager", "--config", str(site.file)).exit_code == 0
    assert server.requests[0].headers["authorization"] == "Bearer a-secret-token"


@pytest.mark.parametrize("options", [(), ("--filter",)])
def test_what_it_writes_is_formatted_and_clean(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert invoke("plugin", "new", "some_thing", *options, "--into", str(tmp_path)).exit_code == 0
    ruff = Path(sys.executable).with_name("ruff")
    run(
        ruff, "check", "--isolated", "--line-length", 120, "--select", "E,F,I,N,UP,B,ANN,RUF,D1", tmp_path, cwd=tmp_path
    )
    run(ruff, "format", "--isolated", "--line-length", 120, "--check", tmp_path, cwd=tmp_path)
    readme = (tmp_path / "notifyd-some-thing" / "README.md").read_text()
    assert "`some_thing`" in readme
    assert "$" not in readme.replace("'", "")


def test_a_word_of_python_is_no_name(tmp_path: Path) -> None:
    answer = invoke("plugin", "new", "class", "--into", str(tmp_path))
    assert (answer.exit_code, answer.stdout) == (2, "")
    said = '"class" cannot be a name: it is a word of Python itself; try class-channel'
    assert said in " ".join(answer.stderr.replace("│", " ").split())


@pytest.mark.parametrize("name", ["Pager", "9to5", "a b", "", "../x", "class", "slack"])
def test_a_name_that_cannot_be(tmp_path: Path, name: str) -> None:
    answer = invoke("plugin", "new", name, "--into", str(tmp_path))
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert name in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    assert invoke("plugin", "new", "pager", "--into", str(tmp_path)).exit_code == 0
    answer = invoke("plugin", "new", "pager", "--filter", "--into", str(tmp_path))
    assert answer.exit_code == 1
    assert "is there already, so nothing was written" in answer.stderr
