"""Finds the error text of a failed run where the row itself has none (settings: error_query)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from notifyd.model import Record, Status
from notifyd.sources.database import Database, Rows
from notifyd.sources.documents import as_text, cut
from notifyd.sources.errors import SourceError
from notifyd.sources.selection import MESSAGE_READ, TEXT_LIMIT

_OF_THE_ERROR: Final = frozenset({"message", "error_type", "error_code"})
MOST_ROWS: Final = 500
"""The most rows of a batch of which each may cost a query."""

_WITHIN: Final = 30.0
_OF_THE_SCHEDULE: Final = frozenset({"connector_id", "entity_type", "tenant_id"})


class ErrorQuery:
    """A SELECT that says of the run `:run_id` (in the row `:key`) what went wrong; its first row counts.

    One column is the message. Of several, `message`, `error_type` and `error_code` are taken by their
    names, and so are `connector_id`, `entity_type` and `tenant_id` where the row has a schedule id of
    its own: elsewhere they are what tells schedules apart, and a failure may not leave the schedule of
    its successes. What remains becomes details. Nothing that the row says itself is replaced.

    `room` is how many rows a batch may have, as each may cost a query.
    """

    def __init__(
        self,
        sql: str,
        database: Database,
        ignores: Callable[[str], object] | None,
        redact: Callable[[str], str] | None = None,
        limit: int = MESSAGE_READ,
        within: float = _WITHIN,
    ) -> None:
        self._sql = sql
        self._database = database
        self._ignores = ignores
        self._redact = redact
        self._limit = limit
        self._trouble = self._told = ""
        self._within = within
        self._until, self._asked = math.inf, 0
        self.room = MOST_ROWS

    def complete(self, record: Record) -> Record:
        """The record with what was found, if it is a failure without a message.

        A query that fails costs the text, not the failure: the reason stands in the details. Only
        where the database is busy a SourceError is raised, as it can be asked again.
        """
        if record.status is not Status.FAILURE or record.message is not None:
            return record
        if time.monotonic() > self._until:
            self._trouble = f"error_query is too slow, so failures come without their text: {self._took_too_long}"
            return record._replace(details={**record.details, "error_query": self._took_too_long})
        try:
            self._asked += 1
            found = self.find(record)
        except SourceError as error:
            if error.busy:
                raise
            found = {"error_query": str(error)}
            self._trouble = self.said(error)
        kept = self._filled(record, {name: self._kept(name, text) for name, text in found.items()})
        ignored = self._ignores is not None and self._ignores(found.get("message", ""))
        return kept._replace(status=Status.IGNORED) if ignored else kept

    def _kept(self, name: str, text: str) -> str:
        """The text as it may be kept."""
        redacted = text if self._redact is None else self._redact(text)
        return cut(redacted, self._limit if name == "message" else TEXT_LIMIT)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """The queries in here have `within` seconds together: for a text alone, a log does not stay unread."""
        began, self._asked = time.monotonic(), 0
        self._until = began + self._within
        yield
        took, self._until = time.monotonic() - began, math.inf
        if took > self._within:
            self.room = max(self._asked // 2, 1)
        elif took < self._within / 4:
            self.room = min(self.room * 2, MOST_ROWS)

    @property
    def _took_too_long(self) -> str:
        return f"not asked: {self._asked} queries for one batch took longer than {self._within:g} s"

    @property
    def news(self) -> tuple[str, ...]:
        """That the query fails or is too slow, once for each reason."""
        if self._trouble == self._told:
            return ()
        self._told = self._trouble
        return (self._trouble,)

    def said(self, error: SourceError) -> str:
        """What it means that the query cannot be run."""
        return f"error_query cannot be run, so failures come without their text: {self._kept('', str(error))}"

    def find(self, record: Record) -> dict[str, str]:
        """What the query says of a record; SourceError where it cannot be run."""
        run = {"run_id": record.run_id or record.key, "key": record.key}
        found = self._database.read(self._sql, run, _first_row)
        limits = {"message": MESSAGE_READ}
        texts = {name: as_text(value, limits.get(name, TEXT_LIMIT)) for name, value in found.items()}
        return {name: text for name, text in texts.items() if text is not None}

    def _filled(self, record: Record, found: Mapping[str, str]) -> Record:
        fields = _OF_THE_ERROR if record.schedule_id is None else _OF_THE_ERROR | _OF_THE_SCHEDULE
        empty = {name for name in fields if getattr(record, name) is None}
        filled: dict[str, Any] = {name: text for name, text in found.items() if name in empty}
        extra = {name: text for name, text in found.items() if name not in fields}
        return record._replace(**filled, details={**extra, **record.details})


def _first_row(rows: Rows) -> dict[str, Any]:
    names = [str(column[0]).lower() for column in rows.description or ()]
    row = next(iter(rows), None)
    if row is None:
        return {}
    return dict(zip(names if len(names) > 1 else ["message"], row, strict=True))
