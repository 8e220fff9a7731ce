"""The history, the outbox and the events as pages of JSON, newest first, found by what they hold.

SQLite writes the JSON itself, which it does without Python's lock: a page costs a poll nearly nothing. A page
begins behind the last row of the one before (keyset), so it costs the same wherever it is, and what is
written meanwhile moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime

from notifyd.store import rows
from notifyd.store.database import Database
from notifyd.store.reads import NAME_OF_CONFIG, Attempt, Delivery, attempts_of


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a listing: after the row `before` came from, and then `offset` more."""

    before: int | None = None
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class JsonPage:
    """Rows as JSON texts; `next` is the `before` of the next page, None on the last."""

    items: list[str]
    next: int | None


@dataclass(frozen=True, slots=True)
class AttemptSearch:
    """Which attempts; None is any. `text` is found in titles and errors, whatever the case."""

    config_id: str | None = None
    severity: str | None = None
    connector_id: str | None = None
    entity_type: str | None = None
    event_type: str | None = None
    success: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class EventSearch:
    """Which events; None is any. `untold` are those that every config dropped. Times are when an event was found."""

    severity: str | None = None
    connector_id: str | None = None
    entity_type: str | None = None
    event_type: str | None = None
    error_type: str | None = None
    tenant_id: str | None = None
    source: str | None = None
    untold: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class DeliverySearch:
    """Which deliveries; None is any."""

    state: str | None = None
    config_id: str | None = None


def attempts(db: Database, search: AttemptSearch, window: Window) -> JsonPage:
    """The notification history, by when an attempt began."""
    text = _like(search.text)
    where = {
        "h.config_id = ?": search.config_id,
        "h.severity = ?": search.severity,
        "h.connector_id = ?": search.connector_id,
        "h.entity_type = ?": search.entity_type,
        "h.event_type = ?": search.event_type,
        # A literal, so that SQLite sees the partial index of what failed.
        f"h.success = {int(bool(search.success))} AND ? IS NOT NULL": search.success,
        "h.started_at >= ?": rows.text(search.since),
        "h.started_at < ?": rows.text(search.until),
        "(h.title LIKE ?1 ESCAPE '\\' OR h.error LIKE ?1 ESCAPE '\\')": text,
        "(h.started_at, h.id) < (SELECT started_at, id FROM notification_history WHERE id = ?)": window.before,
    }
    return _page(db, _ATTEMPT, "notification_history h", where, "h.started_at DESC, h.id DESC", window)


def attempt(db: Database, identity: int) -> Attempt | None:
    """One attempt; None if there is none with this id."""
    found = db.run("SELECT delivery_id FROM notification_history WHERE id = ?", [identity])
    attempts = attempts_of(db, found[0][0]) if found else []
    return next((attempt for attempt in attempts if attempt.id == identity), None)


def deliveries(db: Database, search: DeliverySearch, window: Window) -> JsonPage:
    """The outbox, by when a delivery was planned."""
    where = {"d.state = ?": search.state, "d.config_id = ?": search.config_id, "d.seq < ?": window.before}
    return _page(db, _DELIVERY, "deliveries d", where, "d.seq DESC", window)


def events(db: Database, search: EventSearch, window: Window) -> JsonPage:
    """What was found, newest first."""
    where = {
        "e.severity = ?": search.severity,
        "e.connector_id = ?": search.connector_id,
        "e.entity_type = ?": search.entity_type,
        "e.event_type = ?": search.event_type,
        "e.error_type = ?": search.error_type,
        "e.tenant_id = ?": search.tenant_id,
        "e.source = ?": search.source,
        "e.untold = ?": search.untold,
        "e.found_at >= ?": rows.text(search.since),
        "e.found_at < ?": rows.text(search.until),
        "(e.title LIKE ?1 ESCAPE '\\' OR e.message LIKE ?1 ESCAPE '\\')": _like(search.text),
        "e.seq < ?": window.before,
    }
    return _page(db, _EVENT, "events e", where, "e.seq DESC", window)


def _like(text: str | None) -> str | None:
    """The pattern of LIKE that finds a text as it is written."""
    if text is None:
        return None
    for special in "\\%_":
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"


def _page(db: Database, row: _Row, table: str, where: Mapping[str, object], order: str, window: Window) -> JsonPage:
    given = [(sql, value) for sql, value in where.items() if value is not None]
    # Each value by its number, as a condition may need it twice.
    conditions = [sql.replace("?1", "?").replace("?", f"?{n}") for n, (sql, _) in enumerate(given, 1)]
    found = db.run(
        f"SELECT {row.key}, {row.json} FROM {table} WHERE {' AND '.join(conditions) or '1'} ORDER BY {order}"
        f" LIMIT ?{len(given) + 1} OFFSET ?{len(given) + 2}",
        [*(value for _, value in given), window.limit + 1, window.offset],
    )
    items = found[: window.limit]
    return JsonPage([json for _, json in items], items[-1][0] if len(found) > window.limit else None)


# -- rows as JSON ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """The SQL of a row's key, and of the row as JSON."""

    key: str
    json: str


def _flag(column: str) -> str:
    return f"json(CASE {column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"


def _object(members: Mapping[str, str]) -> str:
    """The SQL of a JSON object, each member by the SQL of its value."""
    return f"json_object({', '.join(f'{name!r}, {sql}' for name, sql in members.items())})"


_ATTEMPT_MEMBERS = {field.name: f"h.{field.name}" for field in fields(Attempt)} | {"success": _flag("h.success")}
_DELIVERY_MEMBERS = {field.name: f"d.{field.name}" for field in fields(Delivery)} | {
    "config_name": NAME_OF_CONFIG.format("d.config_id"),
    "title": "(SELECT e.title FROM verdicts v JOIN events e ON e.id = v.event_id WHERE v.delivery_id = d.id"
    " ORDER BY v.rowid LIMIT 1)",
    "closing": _flag("d.closing"),
}
_EVENT_MEMBERS = {name: f"e.{name}" for name in rows.EVENT_FIELDS if not name.startswith("closes_")} | {
    "details": "json(e.details)",
    "suggested_actions": "json(e.suggested_actions)",
    "closes": "CASE WHEN e.closes_id IS NULL THEN NULL ELSE"
    " json_object('id', e.closes_id, 'event_type', e.closes_type) END",
    "found_at": "e.found_at",
    "untold": _flag("e.untold"),
}

_ATTEMPT = _Row("h.id", _object(_ATTEMPT_MEMBERS))
_DELIVERY = _Row("d.seq", _object(_DELIVERY_MEMBERS))
_EVENT = _Row("e.seq", _object(_EVENT_MEMBERS))
