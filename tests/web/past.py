"""A history that is there before the daemon is, as large as one likes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from notifyd.model import rfc3339
from notifyd.store.database import Database

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ERRORS = ["HTTP 503: Service Unavailable", "HTTP 400: out of stock", "disk 100%_ full", "connection refused"]


class Attempts:
    """Writes attempts, one a minute, of everything that there can be; the same ones for the same seed."""

    def __init__(self, database: Database, seed: int = 1) -> None:
        self.database, self.chance = database, random.Random(seed)

    def write(self, count: int) -> None:
        """All in one transaction."""
        with self.database.transaction():
            self.database.write_many(
                "INSERT INTO notification_history (delivery_id, config_id, config_name, notification_type, attempt,"
                " event_id, event_type, severity, connector_id, entity_type, title, count, started_at, finished_at,"
                f" duration_ms, result, success, status_code, error) VALUES ({', '.join('?' * 19)})",
                self._rows(count),
            )

    def _rows(self, count: int) -> Iterator[tuple[Any, ...]]:
        for number in range(count):
            yield self._row(number)

    def _row(self, number: int) -> tuple[Any, ...]:
        pick, began = self.chance.choice, BEGIN + timedelta(minutes=number)
        error = pick([None, None, None, *ERRORS])
        outcome = ("retry", False, 503, error) if error else ("sent", True, 200, None)
        config = number % 3
        return (
            f"dlv_{number:024x}", f"cfg_{config}", f"config {config}", "webhook", 1, f"evt_{number:024x}",
            pick(["sync_error", "rate_limit", "connection_failure"]), pick(["info", "warning", "error", "critical"]),
            pick(["quickbooks", "woo", None]), pick(["orders", "customers", None]), "Sync Error", 1, rfc3339(began),
            rfc3339(began + timedelta(seconds=1)), 1000.0, *outcome,
        )  # fmt: skip
