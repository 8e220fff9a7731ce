"""The notification configs as the state DB knows them; those of the TOML file are provisioned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from notifyd.core.ids import config_id
from notifyd.model import rfc3339
from notifyd.store import outbox
from notifyd.store.database import Database


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


def provision(db: Database, configs: Sequence[Provisioned], now: datetime) -> None:
    """Make the state DB agree with the file. What waits for a config that is gone or off is cancelled, visibly."""
    moment = rfc3339(now)
    names = {config.name for config in configs}
    with db.transaction():
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


_UPSERT = (
    'INSERT INTO notification_configs (id, name, notification_type, enabled, config, filters, "group", system,'
    " provisioned, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET notification_type = excluded.notification_type, enabled = excluded.enabled,"
    ' config = excluded.config, filters = excluded.filters, "group" = excluded."group", system = excluded.system,'
    " updated_at = excluded.updated_at, deleted_at = NULL"
)


def _row(config: Provisioned, moment: str) -> tuple[object, ...]:
    return (
        config_id(config.name), config.name, config.notification_type, config.enabled, config.config, config.filters,
        config.group, config.system, moment, moment,
    )  # fmt: skip
