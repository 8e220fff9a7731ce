"""The simulated sync system: it writes what its syncs did into a sync log, in EasySale's schema."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

_SCHEMA = """
CREATE TABLE sync_logs (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    sync_id TEXT NOT NULL,
    connector_id TEXT NOT NULL,
    entity_type TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    operation TEXT NOT NULL CHECK (operation IN ('create', 'update', 'delete', 'fetch')),
    result TEXT NOT NULL CHECK (result IN ('success', 'warning', 'error')),
    level TEXT NOT NULL CHECK (level IN ('debug', 'info', 'warn', 'error')),
    message TEXT NOT NULL,
    error_details TEXT,
    duration_ms INTEGER,
    metadata TEXT,
    created_at TEXT NOT NULL DEFAULT (datetime('now'))
)
"""
_INSERT = """
INSERT INTO sync_logs (id, tenant_id, sync_id, connector_id, entity_type, entity_id, operation, result, level, message,
                       duration_ms, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_BREATH = 0.1
"""Seconds between two healthy syncs."""


class Sync(NamedTuple):
    """What is synced, again and again: one schedule."""

    tenant: str
    connector: str
    entity: str


HEALTHY = (
    Sync("corner-shop", "quickbooks", "customers"),
    Sync("corner-shop", "woocommerce", "products"),
    Sync("book-store", "quickbooks", "payments"),
    Sync("book-store", "woocommerce", "inventory"),
)


class SyncSystem:
    """Runs syncs. Each run is committed as a whole, as a busy sync system does it."""

    def __init__(self, path: Path) -> None:
        self.rows = 0  # written so far
        self._database = sqlite3.connect(path)
        self._database.execute("PRAGMA journal_mode = wal")
        self._database.execute(_SCHEMA)

    def close(self) -> None:
        """Close the log."""
        self._database.close()

    async def work(self) -> None:
        """Run the healthy syncs in turn, until it is cancelled."""
        for sync, records in zip(itertools.cycle(HEALTHY), itertools.cycle((3, 5, 2, 8, 4)), strict=False):
            self._write(_succeeded(sync, records))
            await asyncio.sleep(_BREATH)

    def succeed(self, sync: Sync) -> float:
        """Run a sync that goes well. When it was committed, by time.monotonic()."""
        return self._write(_succeeded(sync, 3))

    def fail(self, *syncs: Sync, error: str) -> float:
        """Run syncs that each end with this error, in one go. When they were committed, by time.monotonic()."""
        return self._write(row for sync in syncs for row in _failed(sync, error))

    def _write(self, rows: Iterable[tuple[object, ...]]) -> float:
        with self._database:
            self.rows += self._database.executemany(_INSERT, rows).rowcount
        return time.monotonic()


def _succeeded(sync: Sync, records: int) -> Iterator[tuple[object, ...]]:
    run = str(uuid.uuid4())
    yield _row(sync, run, "fetch", "success", f"{records} {sync.entity} fetched")
    for number in range(1, records + 1):
        yield _row(sync, run, "update", "success", f"{sync.entity} record {number} of {records} updated")


def _failed(sync: Sync, error: str) -> Iterator[tuple[object, ...]]:
    run = str(uuid.uuid4())
    yield _row(sync, run, "fetch", "success", f"{sync.entity} fetched")
    yield _row(sync, run, "update", "error", error)


def _row(sync: Sync, run: str, operation: str, result: str, message: str) -> tuple[object, ...]:
    level = "error" if result == "error" else "info"
    entity_id, now = str(uuid.uuid4()), datetime.now(UTC).isoformat()
    return (
        str(uuid.uuid4()), sync.tenant, run, sync.connector, sync.entity, entity_id, operation, result, level, message,
        40, now,
    )  # fmt: skip
