"""An open sync log: its rows, as Records, by the order that a strategy reads them in."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from notifyd.core.watching import MOST_OPEN, OPEN
from notifyd.model import Record
from notifyd.settings import SourceSettings
from notifyd.sources.database import Database, Kind, Parameters, Relation, Row
from notifyd.sources.errors import SourceError
from notifyd.sources.mapping import NULL, Page, RowMapping
from notifyd.sources.selection import Selection

SCANNED = 10_000
"""How many of the newest rows are looked at where no query can select: values inside JSON, raw statuses."""

WATCHED_AT_START = MOST_OPEN
"""How many of the newest open rows a first start watches."""

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,64})(\.[0-9]{1,38})?")


class SyncLog:
    """One relation of an open database, its columns checked and its mapping compiled.

    `order` is always SQL for a number that grows with the rows: their place in the log. Raises
    SourceError, without the source's name, whenever the log cannot be read.
    """

    def __init__(self, settings: SourceSettings, database: Database) -> None:
        self.database = database
        self.relation = _relation(settings, database)
        self.selection = Selection(settings, self.relation, database)
        self.mapping = RowMapping(settings, self.selection)
        # SQL may look at the clock: then rows change, and come, while nobody writes.
        self._stored = self.relation.stored and not self.selection.computes
        self._open_statuses = [raw for raw, status in settings.statuses.items() if status in OPEN]
        self._open_patterns = [status for _, status in settings.statuses.patterns if status in OPEN]

    def version(self) -> int | None:
        """A number that is another one once rows may be; None where nothing says so."""
        return self.database.version() if self._stored else None

    def page(self, order: str, where: str, parameters: Parameters, limit: int, now: datetime) -> Page:
        """At most `limit` rows that fulfil a condition, the first in order, as Records."""
        sql = self.statement(order, where)
        return self.database.read(sql, {**parameters, "limit": limit}, lambda rows: self.mapping.page(rows, now))

    def newest(
        self, order: str, limit: int, where: str = "", parameters: Parameters | None = None, also: Collection[str] = ()
    ) -> list[Row]:
        """At most `limit` rows, the last in order first; behind each the values of the SQL in `also`."""
        sql = self.statement(order, where, "DESC", also)
        return self.database.read(sql, {**(parameters or {}), "limit": limit}, list)

    def last_place(self, order: str) -> Any:
        """The place of the last row; None where there is no row. ORDER BY, as max() scans a whole query."""
        sql = f"SELECT {order} FROM {self.relation.sql} ORDER BY {order} DESC LIMIT 1"
        return self.database.read(sql, {}, lambda rows: next((row[0] for row in rows), None))

    def open_rows(self, order: str, place: int | None, now: datetime) -> list[Record]:
        """The newest rows that are running or retrying, up to a place if it is given; oldest first.

        Looks through the whole log.
        """
        where, parameters, limit = self._open_condition()
        if not limit:
            return []
        if place is not None:
            where, parameters = (
                " AND ".join(filter(None, (f"{order} <= :place", where))),
                {"place": place, **parameters},
            )
        rows = self.newest(order, limit, where, parameters)
        records = [self.mapping.record_or_aside(row, now) for row in reversed(rows)]
        found = [record for record in records if isinstance(record, Record) and record.status in OPEN]
        return found[-WATCHED_AT_START:]

    def is_crowded(self) -> bool:
        """Whether more rows are open than are watched, where a query can tell. May look through the whole log."""
        where, parameters, limit = self._open_condition()
        if not where:
            return False
        sql = f"SELECT 1 FROM {self.relation.sql} WHERE {where} LIMIT :limit"
        return len(self.database.read(sql, {**parameters, "limit": limit + 1}, list)) > limit

    def having(self, field: str, values: Sequence[str]) -> tuple[str, Parameters]:
        """The condition that a field which is a plain column has one of these values, and its parameters."""
        kind, expression = self.selection.kind(field), self.sought(field)
        parameters: dict[str, Any] = {}
        for n, value in enumerate(values):
            if kind is Kind.ANY or (kind not in (Kind.NUMBER, Kind.UUID) and "\0" not in value):
                parameters[f"text{n}"] = value.encode("utf-8", "replace").decode()
            if kind in (Kind.ANY, Kind.NUMBER) and (number := _number(value, exact=kind is Kind.NUMBER)) is not None:
                parameters[f"number{n}"] = number
            if kind is Kind.BINARY and (shown := _shown_bytes(value)):
                parameters[f"bytes{n}"] = shown
            if kind is Kind.UUID and (identifier := _uuid(value)):
                parameters[f"uuid{n}"] = identifier
        return (f"{expression} IN ({_names(parameters)})" if parameters else "1 = 0"), parameters

    def sought(self, field: str) -> str:
        """The SQL that a field's values are compared with; what neither is a number nor a text is compared as text."""
        expression = str(self.selection.plain(field))
        plain = self.selection.kind(field) in (Kind.ANY, Kind.NUMBER, Kind.TEXT, Kind.UUID, Kind.BINARY)
        return expression if plain else self.database.text(expression)

    def statement(self, order: str, where: str, direction: str = "", also: Collection[str] = ()) -> str:
        """The SQL of a read: a row's place, the selection, and what else is asked for, `:limit` times."""
        values = ", ".join((order, self.selection.sql, *also))
        condition = f"WHERE {where} " if where else ""
        return f"SELECT {values} FROM {self.relation.sql} {condition}ORDER BY {order} {direction} LIMIT :limit"

    def _open_condition(self) -> tuple[str, dict[str, Any], int]:
        """What selects the open rows, and how many rows to look at; no condition where no query can, none to none."""
        if not self._open_statuses and not self._open_patterns:
            return "", {}, 0
        status = self.selection.plain("status")
        if status is None or self._open_patterns or not all(raw.isascii() for raw in self._open_statuses):
            return "", {}, SCANNED
        parameters: dict[str, Any] = {f"open{n}": raw.strip().lower() for n, raw in enumerate(self._open_statuses)}
        expression = f"lower(trim({self.database.text(status, 100)}))"
        listed = f"{expression} IN ({_names(parameters)})"
        if NULL in self._open_statuses:
            listed = f"({status} IS NULL OR {listed})"
        return listed, parameters, WATCHED_AT_START


def _relation(settings: SourceSettings, database: Database) -> Relation:
    if settings.query is not None:
        return database.query(settings.query)
    if settings.table is not None:
        return database.table(settings.table)
    raise SourceError("it has neither a table nor a query")


def _names(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f":{name}" for name in parameters)


def _uuid(text: str) -> uuid.UUID | None:
    """The UUID that is shown as this text."""
    try:
        found = uuid.UUID(text)
    except ValueError:
        return None
    return found if str(found) == text else None


def _number(text: str, *, exact: bool) -> int | Decimal | None:
    """The number that is shown as this text; None where there is none.

    `exact` is what a column of numbers may hold, such as BIGINT UNSIGNED or NUMERIC; else what SQLite takes as one.
    """
    if not _NUMBER.fullmatch(text):
        return None
    if "." in text:
        return Decimal(text) if exact else None
    number = int(text)
    return number if exact or -(2**63) <= number < 2**63 else None


def _shown_bytes(text: str) -> bytes | None:
    """The bytes that are shown as this text."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return None
    return found if found.hex() == text else None
