"""`notifyd history` and `deliveries`: what the state DB holds, as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from notifyd.cli.known import config_named
from notifyd.cli.options import State, read_settings
from notifyd.cli.output import Cell, print_page, print_table, say, took
from notifyd.store import reads
from notifyd.store.reads import Attempt, Delivery, Page


def history(
    path: Path,
    config_name: str | None,
    severity: str | None,
    connector: str | None,
    *,
    failed: bool,
    limit: int,
    before: int | None,
    as_json: bool,
) -> None:
    """List the attempts, newest first."""
    settings = read_settings(path)
    with reads.opened(settings.daemon.state) as db:
        page = reads.history(
            db,
            config=config_named(db, settings, config_name),
            severity=severity,
            connector=connector,
            failed=failed,
            before=before,
            limit=limit,
        )
    if as_json:
        print_page(map(reads.as_json, page.items), page.next)
        return
    print_table(ATTEMPT_COLUMNS, map(attempt_cells, page.items), empty="no attempts")
    _say_more(page)


def deliveries(
    path: Path, state: State | None, config_name: str | None, *, limit: int, before: int | None, as_json: bool
) -> None:
    """List the deliveries, newest first."""
    settings = read_settings(path)
    with reads.opened(settings.daemon.state) as db:
        config = config_named(db, settings, config_name)
        page = reads.deliveries(db, state=state, config=config, before=before, limit=limit)
    if as_json:
        print_page(map(reads.as_json, page.items), page.next)
        return
    print_table(DELIVERY_COLUMNS, map(delivery_cells, page.items), empty="no deliveries")
    _say_more(page)


ATTEMPT_COLUMNS = (
    "started", "config", "severity", "title", "count", "try", "result", "HTTP", "took", "error", "delivery",
)  # fmt: skip


def attempt_cells(attempt: Attempt) -> tuple[Cell, ...]:
    """An attempt as a row of ATTEMPT_COLUMNS."""
    return (
        attempt.started_at, attempt.config_name, attempt.severity, attempt.title, attempt.count, attempt.attempt,
        attempt.result or "under way", attempt.status_code, took(attempt.duration_ms), attempt.error,
        attempt.delivery_id,
    )  # fmt: skip


DELIVERY_COLUMNS = (
    "created", "config", "state", "reason", "title", "count", "tries", "due or ended", "error", "delivery",
)  # fmt: skip


def delivery_cells(delivery: Delivery) -> tuple[Cell, ...]:
    """A delivery as a row of DELIVERY_COLUMNS."""
    return (
        delivery.created_at, delivery.config_name, delivery.state, delivery.reason, delivery.title, delivery.count,
        delivery.attempts, delivery.finished_at or delivery.due_at, delivery.error, delivery.id,
    )  # fmt: skip


def _say_more(page: Page[Any]) -> None:
    if page.next is not None:
        say(f"older ones: --before {page.next}")
