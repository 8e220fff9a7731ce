"""Small real sync logs in SQLite, which tests write rows into as a sync system would.

log = SyncLog(folder / "shop.db")           # EasySale's sync_logs: the rows of one run share a sync_id
log.add("run-1", "error", "500: out of stock")
jobs = JobLog(folder / "jobs.db")           # a plain table: one row is one run
jobs.add("error", "no such order")
{"sources": [log.source("shop"), jobs.source("jobs")]}
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self


class _Log:
    """One SQLite file with one table. It is open until `close`, and commits each call."""

    schema: ClassVar[str]
    insert: ClassVar[str]

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = wal")
        self.connection.execute("PRAGMA synchronous = off")  # the log's own safety is not what is tested
        self.connection.execute(self.schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def write(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Rows as `row` makes them, in one transaction."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(self.insert, rows)
        self.connection.execute("COMMIT")

    def close(self) -> None:
        self.connection.close()


class SyncLog(_Log):
    """EasySale's record log."""

    schema = """
        CREATE TABLE IF NOT EXISTS sync_logs (
            id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, sync_id TEXT NOT NULL, connector_id TEXT NOT NULL,
            entity_type TEXT NOT NULL, entity_id TEXT NOT NULL, operation TEXT NOT NULL, result TEXT NOT NULL,
            level TEXT NOT NULL, message TEXT NOT NULL, error_details TEXT, duration_ms INTEGER, metadata TEXT,
            created_at TEXT NOT NULL)
    """
    insert = "INSERT INTO sync_logs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, 12, NULL, ?)"

    @staticmethod
    def row(
        run: str,
        result: str,
        message: str = "ok",
        *,
        connector: str = "quickbooks",
        entity: str = "orders",
        tenant: str = "acme",
        key: str | None = None,
        at: datetime | None = None,
    ) -> tuple[Any, ...]:
        """A row, its key first."""
        level = "info" if result == "success" else "error"
        created_at = (at or datetime.now(UTC)).isoformat()
        key = key or str(uuid.uuid4())
        return (key, tenant, run, connector, entity, "WC-1", "create", result, level, message, created_at)

    def add(self, run: str, result: str, message: str = "ok", **fields: Any) -> str:
        """One row; its key."""
        row = self.row(run, result, message, **fields)
        self.write([row])
        return str(row[0])

    def source(self, name: str, **keys: Any) -> dict[str, Any]:
        """The `[[sources]]` table that reads it, read as often as is allowed."""
        return {"name": name, "url": self.url, "preset": "easysale", "poll": "100ms", **keys}


class JobLog(_Log):
    """A table of jobs, each row one run of the schedule `job`."""

    schema = """
        CREATE TABLE IF NOT EXISTS jobs (
            id INTEGER PRIMARY KEY, job TEXT, connector TEXT, status TEXT, error TEXT, ended_at TEXT)
    """
    insert = "INSERT INTO jobs (job, connector, status, error, ended_at) VALUES (?, ?, ?, ?, ?)"

    @staticmethod
    def row(
        status: str | None,
        error: Any = None,
        *,
        job: str = "nightly",
        connector: str = "quickbooks",
        at: datetime | None = None,
    ) -> tuple[Any, ...]:
        """A row without its key, which the table gives."""
        return (job, connector, status, error, (at or datetime.now(UTC)).isoformat())

    def add(self, status: str | None, error: Any = None, **fields: Any) -> str:
        """One row; its key."""
        return str(self.connection.execute(self.insert, self.row(status, error, **fields)).lastrowid)

    def source(self, name: str, **keys: Any) -> dict[str, Any]:
        """The `[[sources]]` table that reads it, read as often as is allowed."""
        return self.source_at(self.path, name, **keys)

    @staticmethod
    def source_at(path: Path, name: str, **keys: Any) -> dict[str, Any]:
        """The same for any file, whatever is there."""
        return {
            "name": name,
            "url": f"sqlite:///{path}",
            "table": "jobs",
            "poll": "100ms",
            "columns": {
                "key": "id",
                "schedule_id": "job",
                "connector_id": "connector",
                "status": "status",
                "message": "error",
                "finished_at": "ended_at",
            },
            "statuses": {"success": ["ok"], "failure": ["error"], "running": ["running"], "warning": ["warning"]},
            **keys,
        }
