"""A place for one daemon: a folder with its settings file and its state DB."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import tomli_w

from notifyd.settings import Settings, load
from tests.sinks.http import Request
from tests.system import books

Table = Mapping[str, Any]


class Site:
    """See the module's docstring."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "notifyd.toml"
        self.state = folder / "state.db"

    def write(self, *, sources: Sequence[Table], notifications: Sequence[Table], **tables: Any) -> Path:
        """Write the settings file; the other tables are its defaults, without an HTTP server."""
        document = {
            "daemon": {"state": f"sqlite:///{self.state}", **tables.pop("daemon", {})},
            "http": {"listen": "", **tables.pop("http", {})},
            **tables,
            "sources": sources,
            "notifications": notifications,
        }
        self.file.write_text(tomli_w.dumps(document))
        return self.file

    def settings(self) -> Settings:
        """The settings file, loaded."""
        return load(self.file)

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the state DB, as another process sees it."""
        return self.read(self.state, sql, *parameters)

    @staticmethod
    def read(database: Path, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of any SQLite file."""
        with closing(_open(database)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def value(self, sql: str, *parameters: Any) -> Any:
        """The one value of a query."""
        ((value,),) = self.query(sql, *parameters)
        return value

    def attempts(self, config: str) -> list[dict[str, Any]]:
        """The notification history of one config, oldest first."""
        with closing(_open(self.state)) as connection:
            connection.row_factory = sqlite3.Row
            sql = "SELECT * FROM notification_history WHERE config_name = ? ORDER BY id"
            return [dict(row) for row in connection.execute(sql, [config])]

    def states(self, config: str) -> list[str]:
        """The states of one config's deliveries, oldest first."""
        sql = "SELECT d.state FROM deliveries d JOIN notification_configs c ON c.id = d.config_id WHERE c.name = ?"
        return [state for (state,) in self.query(f"{sql} ORDER BY d.seq", config)]

    def decided(self, config: str) -> list[tuple[str, str]]:
        """(event type, decision) of every event that one config was offered, oldest first."""
        return self.query(
            "SELECT e.event_type, v.decided FROM verdicts v JOIN events e ON e.id = v.event_id"
            " JOIN notification_configs c ON c.id = v.config_id WHERE c.name = ? ORDER BY e.seq",
            config,
        )

    def book(self, scope: str) -> books.Book:
        """What was counted of one source ("source:NAME")."""
        with closing(_open(self.state)) as connection:
            return books.read(connection).get(scope, books.Book())

    def imbalances(self) -> list[str]:
        """What does not add up in the books."""
        with closing(_open(self.state)) as connection:
            return books.imbalances(connection)


def _open(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)


def webhook(name: str, url: str, *, window: str = "0s", **keys: Any) -> dict[str, Any]:
    """A `[[notifications]]` table that posts to `url`, by default each event by itself."""
    return {
        "name": name,
        "notification_type": "webhook",
        "config": {"url": f"{url}/{name}"},
        "group": {"window": window},
        **keys,
    }


def of_type(event_type: str, requests: Sequence[Request]) -> list[Request]:
    """The requests that tell this type of event. What is found together may arrive in any order."""
    return [request for request in requests if request.json()["event_type"] == event_type]


def free_port() -> int:
    """A port that nothing listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


async def until(true: Callable[[], Any], timeout: float = 10, what: str = "") -> None:
    """Return once something that no event tells of is true: a row in a database, a line in a file."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not true():
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout} s: {what or true}"
        await asyncio.sleep(0.01)
