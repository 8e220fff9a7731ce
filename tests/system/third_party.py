"""The way of somebody else's plugin: begun, built, installed, found, checked, delivering, uninstalled, and missed.

Everything is done by the installed commands of a virtualenv that has notifyd's wheel; nothing of this tree is seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from notifyd.conformance.server import HttpServer

NAME = "paging-desk"


class Journey:
    """Step by step; `seconds` is how long each took. `python` is the virtualenv's."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = python, folder
        self.seconds: dict[str, float] = {}
        self.settings = folder / "notifyd.toml"

    def travel(self) -> None:
        """All of it."""
        with self._timed("begun by `notifyd plugin new`"):
            self._notifyd("plugin", "new", NAME, "--into", str(self.folder))
        with self._timed("built as a wheel"):
            wheel = self._build(self.folder / f"notifyd-{NAME}")
        with self._timed("installed"):
            self._pip("install", "--no-index", "--no-deps", str(wheel))
        with HttpServer() as server:
            self._write_settings(server.url)
            with self._timed("found, with its options"):
                self._found(wheel)
            with self._timed("checked"):
                self._notifyd("check", "--config", str(self.settings))
            with self._timed("delivering"), self._running():
                self._notifyd("test", "desk", "--config", str(self.settings))
            (request,) = server.requests
            assert request.json()["title"] == "Test Notification"
            assert request.headers["authorization"] == "Bearer a-secret-token"
        with self._timed("uninstalled, and missed by name"):
            self._pip("uninstall", "--yes", f"notifyd-{NAME}")
            self._missed()

    def _build(self, project: Path) -> Path:
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(self.folder / "dist")]
        _run([*command, str(project)])
        (wheel,) = (self.folder / "dist").glob("*.whl")
        return wheel

    def _found(self, wheel: Path) -> None:
        (item,) = json.loads(self._notifyd("plugins", NAME, "--json", "--config", str(self.settings)))["items"]
        assert item["origin"] == f"notifyd-{NAME} 0.1.0 (notifyd_paging_desk)", item["origin"]
        assert {"url", "token", "proxy"} <= {option["name"] for option in item["options"]}

    def _missed(self) -> None:
        done = _run([str(self.python), "-m", "notifyd", "check", "--config", str(self.settings)], fails=True)
        assert done.returncode == 2, done
        assert done.stderr.startswith(f"{self.settings}:7: "), done.stderr
        assert f'unknown channel "{NAME}"' in done.stderr, done.stderr
        assert "Traceback" not in done.stderr

    def _write_settings(self, url: str) -> None:
        self.settings.write_text(
            f"""[daemon]
state = "sqlite:///{self.folder}/state.db"
[http]
listen = ""
[[notifications]]
name = "desk"
notification_type = "{NAME}"
[notifications.config]
url = "{url}"
token = "a-secret-token"
"""
        )

    @contextmanager
    def _running(self) -> Iterator[None]:
        """A daemon on the settings."""
        command = [str(self.python), "-m", "notifyd", "run", "--config", str(self.settings)]
        with (self.folder / "daemon.log").open("wb") as log:
            daemon = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", env=_environment())
        try:
            deadline = time.monotonic() + 30
            while "started" not in (self.folder / "daemon.log").read_text():
                assert daemon.poll() is None, (self.folder / "daemon.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield
        finally:
            daemon.terminate()
            assert daemon.wait(30) == 0

    def _notifyd(self, *arguments: str) -> str:
        return _run([str(self.python), "-m", "notifyd", *arguments]).stdout

    def _pip(self, *arguments: str) -> None:
        _run([sys.executable, "-m", "pip", "--python", str(self.python), *arguments, "--quiet"])

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - began, 2)


def _run(command: list[str], *, fails: bool = False) -> Any:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=_environment())
    assert fails or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done


def _environment() -> dict[str, str]:
    """As a person's shell has it, without what points to this tree."""
    return {key: text for key, text in os.environ.items() if not key.startswith(("PYTHON", "NOTIFYD"))}
