"""What the state DB holds, as pages of typed rows, newest first: the listings of the CLI and the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from peewee import DatabaseError

from notifyd.model import rfc3339
from notifyd.store import books, rows
from notifyd.store.database import Database, StoreError, open_database

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
R = TypeVar("R", bound="DataclassInstance")

SET_ASIDE_SHOWN = 3
"""How many of a source's newest rows that were set aside are listed with it."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows; `next` is what to ask for those before them, None where there are no more."""

    items: list[T]
    next: int | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a delivery. `success` and what belongs to it are None while it is under way."""

    id: int
    delivery_id: str
    config_id: str
    config_name: str
    notification_type: str
    attempt: int
    event_id: str
    event_type: str
    severity: str
    connector_id: str | None
    entity_type: str | None
    title: str
    count: int
    started_at: datetime
    finished_at: datetime | None
    duration_ms: float | None
    result: str | None
    success: bool | None
    status_code: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification on its way to one config. `title` is that of its first event."""

    id: str
    config_id: str
    config_name: str
    state: str
    reason: str
    title: str | None
    count: int
    closing: bool
    attempts: int
    created_at: datetime
    due_at: datetime
    first_attempt_at: datetime | None
    finished_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that could not be read or folded, and why."""

    key: str
    text: str
    set_aside_at: datetime


@dataclass(frozen=True, slots=True)
class SourceState:
    """Where reading a source has come to, and how it fares. `error` stands until the next good poll."""

    source_id: str
    name: str
    cursor: str
    epoch: int
    started_at: datetime
    read_at: datetime | None
    at_end: bool
    failed_at: datetime | None
    failing_since: datetime | None
    error: str | None
    watched: int
    set_aside: int
    newest_set_aside: tuple[SetAside, ...]


@dataclass(frozen=True, slots=True)
class ConfigState:
    """A notification config as the daemon last knew it."""

    id: str
    name: str
    notification_type: str
    enabled: bool
    deleted_at: datetime | None

    @property
    def active(self) -> bool:
        """Whether anything is sent to it."""
        return self.enabled and self.deleted_at is None


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """The state DB that is there, for the length of one command. Whatever goes wrong with it is a StoreError."""
    database = open_database(url, create=False)
    try:
        yield database
    except DatabaseError as error:
        raise StoreError(f"the state DB {database.path} cannot be used: {error}") from None
    finally:
        database.close()


def snapshot(db: Database) -> AbstractContextManager[Any]:
    """A read transaction: what is read in it agrees, whatever the daemon writes meanwhile. Keep it short."""
    transaction: AbstractContextManager[Any] = db.peewee.atomic("DEFERRED")
    return transaction


def history(
    db: Database,
    *,
    config: str | None = None,
    severity: str | None = None,
    connector: str | None = None,
    failed: bool = False,
    before: int | None = None,
    limit: int = 50,
) -> Page[Attempt]:
    """The attempts, newest first. `config` is an id; `before` the id of an attempt, as `Page.next` gives it."""
    where, values = _conditions(
        {
            "h.config_id = ?": config,
            "h.severity = ?": severity,
            "h.connector_id = ?": connector,
            "h.success = ?": 0 if failed else None,
            "h.id < ?": before,
        }
    )
    found = db.run(f"{_ATTEMPTS} WHERE {where} ORDER BY h.id DESC LIMIT ?", [*values, limit + 1])
    items = [_attempt(row) for row in found[:limit]]
    return Page(items, items[-1].id if len(found) > limit else None)


def attempts_of(db: Database, delivery_id: str) -> list[Attempt]:
    """Every attempt at a delivery, the first one first."""
    return [_attempt(row) for row in db.run(f"{_ATTEMPTS} WHERE h.delivery_id = ? ORDER BY h.id", [delivery_id])]


def deliveries(
    db: Database, *, state: str | None = None, config: str | None = None, before: int | None = None, limit: int = 50
) -> Page[Delivery]:
    """The outbox, newest first. `config` is an id; `before` is what `Page.next` gave."""
    where, values = _conditions(
        {"d.state = ?": state, "d.config_id = ?": config, "d.seq < ?": before},
    )
    found = db.run(f"{_DELIVERIES} WHERE {where} ORDER BY d.seq DESC LIMIT ?", [*values, limit + 1])
    return Page([_delivery(row) for row in found[:limit]], found[limit - 1][0] if len(found) > limit else None)


def delivery(db: Database, delivery_id: str) -> Delivery | None:
    """One delivery; None if there is none with this id."""
    return next((_delivery(row) for row in db.run(f"{_DELIVERIES} WHERE d.id = ?", [delivery_id])), None)


def sources(db: Database) -> list[SourceState]:
    """Every source that was ever read, by name."""
    with snapshot(db):
        counted = books.read(db)
        return [_source(db, row, counted.get(f"source:{row[0]}", {})) for row in db.run(f"{_SOURCES} ORDER BY name")]


def source(db: Database, source_id: str) -> SourceState | None:
    """One source; None before its first start."""
    found = db.run(f"{_SOURCES} WHERE source_id = ?", [source_id])
    return _source(db, found[0], books.read(db).get(f"source:{source_id}", {})) if found else None


def config(db: Database, identity: str) -> ConfigState | None:
    """One config, by its id; None if no daemon has known it."""
    sql = "SELECT id, name, notification_type, enabled, deleted_at FROM notification_configs WHERE id = ?"
    return next((_read(ConfigState, row) for row in db.run(sql, [identity])), None)


def config_names(db: Database) -> list[str]:
    """The name of every config that there is or was."""
    return [row[0] for row in db.run("SELECT DISTINCT name FROM notification_configs ORDER BY name")]


def config_id_of(db: Database, name: str) -> str | None:
    """The id of the config with this name, there or gone, or only ever tested; None if nothing is known of it."""
    for sql in (
        # One that was deleted keeps its name.
        "SELECT id FROM notification_configs WHERE name = ? ORDER BY deleted_at IS NOT NULL, deleted_at DESC",
        "SELECT config_id FROM notification_history WHERE config_name = ? LIMIT 1",
    ):
        if found := db.run(sql, [name]):
            return str(found[0][0])
    return None


def known_events(db: Database, ids: Sequence[str]) -> set[str]:
    """Those of the ids that there is an event of."""
    found = db.run("SELECT e.id FROM json_each(?) k CROSS JOIN events e ON e.id = k.value", [rows.dump(list(ids))])
    return {identity for (identity,) in found}


def as_json(row: DataclassInstance) -> dict[str, Any]:
    """A row as the API and `--json` show it: its field names, times in RFC 3339."""
    return {field.name: _plain(getattr(row, field.name)) for field in fields(row)}


# -- rows --------------------------------------------------------------------------------------------

# A config that was only ever tested has no row of its own yet, but its history has its name.
NAME_OF_CONFIG = (
    "COALESCE((SELECT name FROM notification_configs WHERE id = {0}),"
    " (SELECT config_name FROM notification_history WHERE config_id = {0} LIMIT 1), {0})"
)
"""SQL for the name of a config; to be formatted with the SQL of its id."""

_ATTEMPTS = f"SELECT {', '.join('h.' + field.name for field in fields(Attempt))} FROM notification_history h"
_DELIVERIES = (
    f"SELECT d.seq, d.id, d.config_id, {NAME_OF_CONFIG.format('d.config_id')}, d.state, d.reason,"
    " (SELECT e.title FROM verdicts v JOIN events e ON e.id = v.event_id WHERE v.delivery_id = d.id"
    " ORDER BY v.rowid LIMIT 1),"
    " d.count, d.closing, d.attempts, d.created_at, d.due_at, d.first_attempt_at, d.finished_at, d.error"
    " FROM deliveries d"
)
_SOURCES = (
    "SELECT source_id, name, cursor, epoch, started_at, read_at, at_end, failed_at, failing_since, error,"
    " (SELECT COUNT(*) FROM watched w WHERE w.source_id = cursors.source_id AND w.status <> 'unmapped'"
    " AND w.until IS NULL) FROM cursors"
)


def _conditions(wanted: Mapping[str, object]) -> tuple[str, list[object]]:
    """The SQL of the conditions that have a value, and those values."""
    given = {sql: value for sql, value in wanted.items() if value is not None}
    return " AND ".join(given) or "1", list(given.values())


def _attempt(row: Sequence[Any]) -> Attempt:
    return _read(Attempt, row)


def _delivery(row: Sequence[Any]) -> Delivery:
    return _read(Delivery, row[1:])


def _source(db: Database, row: Sequence[Any], counts: Mapping[str, int]) -> SourceState:
    sql = "SELECT key, text, at FROM set_aside WHERE source_id = ? ORDER BY id DESC LIMIT ?"
    newest = tuple(_read(SetAside, found) for found in db.run(sql, [row[0], SET_ASIDE_SHOWN]))
    return _read(SourceState, [*row, counts.get("set_aside", 0), newest])


_FLAGS = frozenset({"success", "closing", "at_end", "enabled"})


def _read(kind: type[R], row: Sequence[Any]) -> R:
    """A row whose columns are the fields of `kind`, in their order."""
    return kind(**{field.name: _value(field.name, value) for field, value in zip(fields(kind), row, strict=True)})


def _value(name: str, value: Any) -> Any:
    """What a column holds: SQLite knows neither times nor booleans."""
    if value is None:
        return None
    if name.endswith(("_at", "_since")):
        return rows.moment(value)
    return bool(value) if name in _FLAGS else value


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    return value
