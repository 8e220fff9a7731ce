"""The audit trail: who did what through the API, when, and what it changed. No secret is ever in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from notifyd.model import rfc3339
from notifyd.store import rows
from notifyd.store.database import Database
from notifyd.store.reads import Page


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a token by its name and id, or somebody at the command line."""

    name: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One field, before and after, as JSON. A secret that changed reads as a mask on both sides."""

    field: str
    old: object
    new: object


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was done, to what: `config.changed`, `delivery.retried` …"""

    action: str
    object_id: str | None = None
    object_name: str | None = None
    changes: Sequence[Change] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the trail."""

    id: int
    at: datetime
    actor: str
    actor_id: str | None
    action: str
    object_id: str | None
    object_name: str | None
    changes: tuple[Change, ...]


def note(db: Database, actor: Actor, deed: Deed, now: datetime) -> None:
    """Write a line. Inside the transaction of what it tells of, so that neither is there without the other."""
    changes = [{"field": change.field, "old": change.old, "new": change.new} for change in deed.changes]
    db.run(
        "INSERT INTO audit (at, actor, actor_id, action, object_id, object_name, changes) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [rfc3339(now), actor.name, actor.id, deed.action, deed.object_id, deed.object_name, rows.dump(changes)],
    )


def page(db: Database, *, object_id: str | None = None, before: int | None = None, limit: int = 50) -> Page[Entry]:
    """The newest lines first, of one object or of all; `before` as `Page.next` gave it."""
    conditions = {"object_id = ?": object_id, "id < ?": before}
    where = {sql: value for sql, value in conditions.items() if value is not None}
    found = db.run(
        "SELECT id, at, actor, actor_id, action, object_id, object_name, changes FROM audit"
        f" WHERE {' AND '.join(where) or '1'} ORDER BY id DESC LIMIT ?",
        [*where.values(), limit + 1],
    )
    items = [_entry(*row) for row in found[:limit]]
    return Page(items, items[-1].id if len(found) > limit else None)


def _entry(
    identity: int,
    at: str,
    actor: str,
    actor_id: str | None,
    action: str,
    object_id: str | None,
    object_name: str | None,
    changes: str,
) -> Entry:
    told = tuple(Change(**change) for change in json.loads(changes))
    return Entry(identity, rows.moment(at), actor, actor_id, action, object_id, object_name, told)
