"""The notification configs as the state DB knows them; those of the TOML file are provisioned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from notifyd.core.ids import config_id
from notifyd.model import rfc3339
from notifyd.store import outbox, rows
from notifyd.store.database import Database, StoreError


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A config of the TOML file, without its secrets: the file keeps those."""

    name: str
    notification_type: str
    enabled: bool
    config: str
    filters: str
    group: str
    system: bool
    others: str = "{}"


@dataclass(frozen=True, slots=True)
class StoredConfig:
    """A config as it is stored. A secret in `config` reads as a mask; what the API made has them in `sealed`."""

    id: str
    name: str
    notification_type: str
    enabled: bool
    config: Mapping[str, Any]
    filters: Mapping[str, Any]
    group: Mapping[str, Any]
    system: bool
    others: Mapping[str, Any]
    provisioned: bool
    created_at: datetime
    updated_at: datetime
    sealed: str | None
    version: int
    unreadable: tuple[str, ...] = ()  # what of it is stored as no JSON


def provision(db: Database, configs: Sequence[Provisioned], now: datetime) -> None:
    """Make the state DB agree with the file. What waits for a config that is gone or off is cancelled, visibly."""
    moment = rfc3339(now)
    names = {config.name for config in configs}
    with db.transaction():
        _check_free(db, names)
        gone = [
            row[0]
            for row in db.run("SELECT id, name FROM notification_configs WHERE provisioned = 1 AND deleted_at IS NULL")
            if row[1] not in names
        ]
        db.write_many(
            "UPDATE notification_configs SET deleted_at = ? WHERE id = ?", [(moment, identity) for identity in gone]
        )
        db.write_many(_UPSERT, [_row(config, moment) for config in configs])
        for identity in gone:
            outbox.cancel(db, identity, "its config was deleted", now)
        for config in configs:
            if not config.enabled:
                outbox.cancel(db, config_id(config.name), "its config was disabled", now)


def listing(
    db: Database,
    *,
    notification_type: str | None = None,
    enabled: bool | None = None,
    provisioned: bool | None = None,
) -> list[StoredConfig]:
    """The configs that there are, the newest first."""
    conditions = {"notification_type = ?": notification_type, "enabled = ?": enabled, "provisioned = ?": provisioned}
    given = {sql: value for sql, value in conditions.items() if value is not None}
    where = " AND ".join(["deleted_at IS NULL", *given])
    found = db.run(f"{_SELECT} WHERE {where} ORDER BY created_at DESC, rowid DESC", list(given.values()))
    return [_stored(*row) for row in found]


def get(db: Database, identity: str) -> StoredConfig | None:
    """One config; None where there is none, or no more."""
    found = db.run(f"{_SELECT} WHERE id = ? AND deleted_at IS NULL", [identity])
    return _stored(*found[0]) if found else None


def cancel_idle(db: Database, now: datetime) -> int:
    """Cancel what still waits for configs that are off or gone, as it came in while they went. How many deliveries."""
    with db.transaction():
        idle = db.run(
            "SELECT id, deleted_at IS NOT NULL FROM notification_configs c"
            " WHERE (enabled = 0 OR deleted_at IS NOT NULL) AND (EXISTS ("
            "SELECT 1 FROM deliveries d WHERE d.config_id = c.id AND d.reason <> 'test'"
            " AND d.state IN ('gathering', 'pending', 'retrying'))"
            " OR EXISTS (SELECT 1 FROM verdicts v WHERE v.config_id = c.id AND v.decided = 'held'))"
        )
        return sum(
            outbox.cancel(db, identity, f"its config was {'deleted' if deleted else 'disabled'}", now)
            for identity, deleted in idle
        )


def cancel_tests(db: Database, now: datetime) -> None:
    """Cancel tests of configs that are off, or were never saved, and whose daemon stopped before they were sent."""
    with db.transaction():
        left = db.run(
            "SELECT DISTINCT d.config_id, CASE WHEN c.id IS NULL THEN 'never saved' WHEN c.deleted_at IS NULL"
            " THEN 'disabled' ELSE 'deleted' END FROM deliveries d LEFT JOIN notification_configs c"
            " ON c.id = d.config_id WHERE d.state IN ('pending', 'retrying')"
            " AND (c.id IS NULL OR c.enabled = 0 OR c.deleted_at IS NOT NULL)"
        )
        for identity, what in left:
            outbox.cancel(db, identity, f"its config was {what}", now)


def _check_free(db: Database, names: set[str]) -> None:
    """A name is the identity of a config, in the file as through the API."""
    taken = db.run("SELECT name, id FROM notification_configs WHERE provisioned = 0 AND deleted_at IS NULL")
    for name, identity in taken:
        if name in names:
            raise StoreError(
                f'there are two configs called "{name}": one in the settings file, and one that was made through the '
                f"API ({identity}); give one of them another name, or delete it"
            )


_SELECT = (
    'SELECT id, name, notification_type, enabled, config, filters, "group", system, others, provisioned, created_at,'
    " updated_at, sealed, version FROM notification_configs"
)


def _stored(
    identity: str,
    name: str,
    kind: str,
    enabled: int,
    config: str,
    filters: str,
    group: str,
    system: int,
    others: str,
    provisioned: int,
    created: str,
    updated: str,
    sealed: str | None,
    version: int,
) -> StoredConfig:
    texts = {"config": config, "filters": filters, "group": group, "others": others}
    tables = {key: _table(text) for key, text in texts.items()}
    unreadable = tuple(key for key, table in tables.items() if table is None)
    return StoredConfig(
        identity, name, kind, bool(enabled), tables["config"] or {}, tables["filters"] or {}, tables["group"] or {},
        bool(system), tables["others"] or {}, bool(provisioned), rows.moment(created), rows.moment(updated), sealed,
        version, unreadable,
    )  # fmt: skip


def _table(text: str) -> dict[str, Any] | None:
    """A table of a config; None where somebody else wrote into the state DB."""
    try:
        table = json.loads(text)
    except ValueError:
        return None
    return table if isinstance(table, dict) else None


_UPSERT = (
    'INSERT INTO notification_configs (id, name, notification_type, enabled, config, filters, "group", system, others,'
    " provisioned, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET notification_type = excluded.notification_type, enabled = excluded.enabled,"
    ' config = excluded.config, filters = excluded.filters, "group" = excluded."group", system = excluded.system,'
    " others = excluded.others, updated_at = excluded.updated_at, deleted_at = NULL, version = version + 1"
    ' WHERE (notification_type, enabled, config, filters, "group", system, others, deleted_at)'
    " IS NOT (excluded.notification_type, excluded.enabled, excluded.config, excluded.filters,"
    ' excluded."group", excluded.system, excluded.others, NULL)'
)


def _row(config: Provisioned, moment: str) -> tuple[object, ...]:
    return (
        config_id(config.name), config.name, config.notification_type, config.enabled, config.config, config.filters,
        config.group, config.system, config.others, moment, moment,
    )  # fmt: skip
