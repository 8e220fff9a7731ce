"""A row of a sync log, as people and programs are shown it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from notifyd.cli.output import Cell, count
from notifyd.core.runs import schedule_of
from notifyd.model import Record, rfc3339


def record_json(record: Record) -> dict[str, Any]:
    """A record as JSON: its field names."""
    return {name: _plain(value) for name, value in record._asdict().items()}


def moment(record: Record) -> datetime | None:
    """When it happened, as its row says."""
    return record.finished_at or record.occurred_at or record.started_at


def schedule_name(record: Record) -> str:
    """Its schedule in words: the schedule's id, or what stands for one."""
    return named(schedule_of(record))


def named(schedule: str) -> str:
    """A schedule as detection calls it, in words."""
    try:
        parts = json.loads(schedule)
    except ValueError:
        return schedule
    return " / ".join(part for part in parts if part) or "the whole log" if isinstance(parts, list) else schedule


def fields(record: Record) -> dict[str, Cell]:
    """What is known of it, by the names of [sources.columns]; None where it says nothing."""
    return {
        "status": record.status.value,
        "when": moment(record),
        "run": record.run_id,
        "schedule": schedule_name(record),
        "connector": record.connector_id,
        "entity": record.entity_type,
        "tenant": record.tenant_id,
        "error type": record.error_type,
        "error code": record.error_code,
        "message": record.message,
        **{f"{name} in the log" if name == "status" else name: text for name, text in record.details.items()},
    }


def unmapped(raw: str | None, rows: int) -> str:
    """That no list of [sources.statuses] has a raw status, which so many rows have."""
    value = "NULL" if raw is None else f'"{raw}"'
    return f"the status {value} of {count(rows, 'row')} is unmapped, and counts for nothing"


def map_it(raw: str | None) -> str:
    """What to do about it."""
    return 'list it under [sources.statuses] as "NULL"' if raw is None else "list it under [sources.statuses]"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    return dict(value) if hasattr(value, "items") else value
