"""Configs made through the API: made, replaced and deleted, each with its line in the audit trail.

An edit names the version that it was made from, and changes nothing where that is no longer the newest, so
that of two writers at once neither undoes what the other did without knowing.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from notifyd.model import rfc3339
from notifyd.store import configs, outbox, trail
from notifyd.store.configs import StoredConfig
from notifyd.store.database import Database, StoreError
from notifyd.store.trail import Actor, Change, Deed


class NameTaken(StoreError):
    """Another config has this name."""


class Outdated(StoreError):
    """The config has changed since it was read, or is gone."""


@dataclass(frozen=True, slots=True)
class Written:
    """A config to be stored, its tables as JSON; `sealed` is `config` with its secrets, encrypted."""

    name: str
    notification_type: str
    enabled: bool
    config: str
    filters: str
    group: str
    system: bool
    others: str
    sealed: str


def create(
    db: Database, written: Written, changes: Sequence[Change], actor: Actor, now: datetime, *, derive_name: bool
) -> StoredConfig:
    """Store a new config; with `derive_name`, where another is called so, with the first free number behind it."""
    identity, moment = f"cfg_{secrets.token_hex(12)}", rfc3339(now)
    with db.transaction():
        name = _free_name(db, written.name) if derive_name else written.name
        _check_name(db, name, identity)
        db.run(
            'INSERT INTO notification_configs (id, name, notification_type, enabled, config, filters, "group", system,'
            " others, sealed, provisioned, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
            [identity, name, *_values(written)[1:], moment, moment],
        )
        trail.note(db, actor, Deed("config.created", identity, name, changes), now)
        return _stored(db, identity)


def replace(
    db: Database, identity: str, version: int, written: Written, changes: Sequence[Change], actor: Actor, now: datetime
) -> StoredConfig:
    """Store a config in the place of its `version`. What waits for one that is now off is cancelled."""
    with db.transaction():
        _check_name(db, written.name, identity)
        changed = db.run(
            "UPDATE notification_configs SET name = ?, notification_type = ?, enabled = ?, config = ?, filters = ?,"
            ' "group" = ?, system = ?, others = ?, sealed = ?, updated_at = ?, version = version + 1'
            " WHERE id = ? AND version = ? AND provisioned = 0 AND deleted_at IS NULL RETURNING id",
            [*_values(written), rfc3339(now), identity, version],
        )
        if not changed:
            raise Outdated(f"the config {identity} has been changed meanwhile")
        trail.note(db, actor, Deed("config.changed", identity, written.name, changes), now)
        if not written.enabled:
            outbox.cancel(db, identity, "its config was disabled", now)
        return _stored(db, identity)


def delete(db: Database, identity: str, version: int, actor: Actor, now: datetime) -> None:
    """Delete `version` of a config: its row and its history stay, and what waits is cancelled."""
    with db.transaction():
        deleted = db.run(
            "UPDATE notification_configs SET deleted_at = ?, sealed = NULL"
            " WHERE id = ? AND version = ? AND provisioned = 0 AND deleted_at IS NULL RETURNING name",
            [rfc3339(now), identity, version],
        )
        if not deleted:
            raise Outdated(f"the config {identity} has been changed meanwhile")
        trail.note(db, actor, Deed("config.deleted", identity, deleted[0][0]), now)
        outbox.cancel(db, identity, "its config was deleted", now)


def _values(written: Written) -> list[object]:
    return [
        written.name, written.notification_type, written.enabled, written.config, written.filters, written.group,
        written.system, written.others, written.sealed,
    ]  # fmt: skip


def _free_name(db: Database, wanted: str) -> str:
    taken = {row[0] for row in db.run("SELECT name FROM notification_configs WHERE deleted_at IS NULL")}
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _check_name(db: Database, name: str, identity: str) -> None:
    sql = "SELECT id FROM notification_configs WHERE name = ? AND id <> ? AND deleted_at IS NULL"
    for (other,) in db.run(sql, [name, identity]):
        raise NameTaken(f'there is a config called "{name}" already ({other}); choose another name')


def _stored(db: Database, identity: str) -> StoredConfig:
    found = configs.get(db, identity)
    assert found is not None  # noqa: S101 - written in this transaction
    return found
