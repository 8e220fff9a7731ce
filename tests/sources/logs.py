"""Sync logs for the tests: real SQLite files, and sources that read them as a settings file says."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from notifyd.model import Record
from notifyd.settings import SourceSettings, load
from notifyd.sources import Batch, Cursor, Source

NOW = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)

JOBS = "CREATE TABLE jobs (id INTEGER PRIMARY KEY, run TEXT, state TEXT, error TEXT, at TEXT)"

JOBS_MAPPING = """
table = "jobs"
start = "beginning"
[sources.columns]
key = "id"
run_id = "run"
status = "state"
message = "error"
occurred_at = "at"
[sources.statuses]
success = ["ok"]
failure = ["failed"]
running = ["running"]
retrying = ["again"]
"""

SYNC_LOGS = """
CREATE TABLE sync_logs (
    id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, sync_id TEXT NOT NULL, connector_id TEXT NOT NULL,
    entity_type TEXT NOT NULL, entity_id TEXT NOT NULL, operation TEXT NOT NULL, result TEXT NOT NULL,
    level TEXT NOT NULL, message TEXT NOT NULL, error_details TEXT, duration_ms INTEGER, metadata TEXT,
    created_at TEXT NOT NULL DEFAULT (datetime('now'))
)
"""

SYNC_STATE = """
CREATE TABLE sync_state (
    store_id TEXT PRIMARY KEY, last_sync_at TEXT NOT NULL, last_sync_version INTEGER, sync_enabled INTEGER,
    sync_url TEXT, created_at TEXT, updated_at TEXT, tenant_id TEXT, id TEXT, connector_id TEXT, sync_mode TEXT,
    status TEXT, dry_run INTEGER, records_processed INTEGER, records_created INTEGER, records_updated INTEGER,
    records_failed INTEGER, resume_checkpoint TEXT, started_at TEXT, completed_at TEXT
)
"""


class Log:
    """An SQLite file as the sync system sees it: it writes, and keeps no lock between."""

    def __init__(self, path: Path, *schema: str) -> None:
        self.path = path
        self.run(*schema)

    def run(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def add(self, table: str, rows: Iterable[Sequence[Any] | dict[str, Any]]) -> None:
        """Insert rows: sequences fill all columns, dicts those that they name."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for row in rows:
                names = f"({', '.join(row)})" if isinstance(row, dict) else ""
                values = tuple(row.values()) if isinstance(row, dict) else tuple(row)
                connection.execute(f"INSERT INTO {table} {names} VALUES ({', '.join('?' * len(values))})", values)

    def settings(self, mapping: str) -> SourceSettings:
        """The settings of a source named "shop" that reads this file."""
        return settings_of(mapping, self.path, self.path.with_suffix(".toml"))

    def source(self, mapping: str) -> Source:
        return Source(self.settings(mapping), busy_timeout=0.05)


def settings_of(mapping: str, database: Path, file: Path) -> SourceSettings:
    """The settings of a source named "shop", written to a file and loaded."""
    file.write_text(f'[[sources]]\nname = "shop"\nurl = "sqlite:///{database}"\n{mapping}')
    return load(file).sources[0]


def read_all(source: Source, cursor: Cursor | None = None, limit: int = 5_000) -> tuple[list[Record], Cursor]:
    """Every record up to the end of the log, and the cursor there."""
    cursor = source.start(NOW).cursor if cursor is None else cursor
    records: list[Record] = []
    while True:
        batch = source.read(cursor, NOW, limit)
        records += batch.records
        cursor = batch.cursor
        if batch.at_end:
            return records, cursor


def read_once(source: Source) -> Batch:
    """The first batch of a log that is read from its beginning."""
    return source.read(source.start(NOW).cursor, NOW)


def keys(records: Iterable[Record]) -> list[str]:
    return [record.key for record in records]
