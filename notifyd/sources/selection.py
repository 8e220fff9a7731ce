"""The shape of a row: what is selected of a log, and where in the row it comes.

    (place, key, run_id, … finished_at, details…, documents…)

    place      where the row stands in the log: what a cursor remembers
    14 fields  of a Record, in its order; NULL where nothing is mapped
    details    as mapped
    documents  the JSON columns, each once; the values that lie inside of them are NULL until looked up

One fixed shape, so that the hot path only unpacks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from notifyd.model import Record
from notifyd.settings import Column, SourceSettings
from notifyd.settings.wording import did_you_mean
from notifyd.sources import documents
from notifyd.sources.database import Database, Kind, Relation
from notifyd.sources.errors import SourceError

TEXT_LIMIT: Final = 500
"""The most characters of any text but the message."""

MESSAGE_READ: Final = 10_000
"""The most characters of a message that are read; fewer are kept."""

DOCUMENT_READ: Final = 1_000_000
"""The most characters of a JSON document; a longer one is cut, and so malformed."""

_DETAIL_READ: Final = 4 * TEXT_LIMIT
"""The most characters or bytes of a detail that are read; a character has at most four bytes."""

KEY_LIMIT: Final = TEXT_LIMIT
"""A longer key is no key: it would have to be cut, and then not be found again."""

FIELDS: Final = Record._fields[: Record._fields.index("details")]
TIMES: Final = ("finished_at", "occurred_at", "started_at", "heartbeat_at")
DETAILS: Final = 1 + len(FIELDS)
"""Where in a row the details begin."""

# To cut a text in SQL costs as much as all else that is done with it, so it is done where texts may be long
# and are rarely the same; the mapping cuts the others.
_CUT: Final = {"message": MESSAGE_READ, "run_id": TEXT_LIMIT}


@dataclass(frozen=True, slots=True)
class Inside:
    """A value that lies inside a document. `limit` is None where it is kept as it is, not as text."""

    index: int  # where in the row the value belongs
    document: int  # where in the row the document is
    path: documents.Path
    limit: int | None


class Selection:
    """What is selected of one relation. `sql` has a row's values but its place; `width` counts them all.

    `computes` is whether any of them is what SQL of the settings makes of a row.

    Raises SourceError where the relation has no such columns.
    """

    def __init__(self, settings: SourceSettings, relation: Relation, database: Database) -> None:
        self._relation = relation
        self._database = database
        self._documents: dict[str, int] = {}
        self.columns = mapped_columns(settings)
        self.computes = any(column.sql for _, column in _mapped(settings))
        self.details = tuple(settings.columns.details)
        self.inside: list[Inside] = []
        self._check(settings)
        self.changed = self._changed(settings)
        self.changes = self._changes(settings)
        wanted = [*FIELDS, *(f"details.{name}" for name in self.details)]
        self._first_document = 1 + len(wanted)
        values = [self._value(index, name) for index, name in enumerate(wanted, start=1)]
        values += [database.text(relation.columns[name.lower()], DOCUMENT_READ) for name in self._documents]
        self.sql = ", ".join(values)
        self.width = 1 + len(values)

    @property
    def reads_documents(self) -> bool:
        """Whether a row may be as long as a JSON document is."""
        return bool(self._documents)

    @property
    def dated(self) -> bool:
        """Whether any time of a row is mapped."""
        return any(name in self.columns for name in TIMES[:3])

    def expression(self, column: Column) -> str:
        """The SQL of what is mapped; the relation has its columns."""
        if column.sql:
            return f"({column.column})"
        if column.parts:
            return self._database.joined([self._relation.columns[part.lower()] for part in column.parts])
        return self._relation.columns[column.column.lower()]

    def plain(self, field: str) -> str | None:
        """The SQL of a field that is a column by itself; None where it is not mapped, or lies inside JSON."""
        column = self.columns.get(field)
        return self.expression(column) if column and column.json is None else None

    def kind(self, field: str) -> Kind:
        """What the column of a mapped field holds."""
        return self._kind(self.columns[field])

    def _kind(self, column: Column) -> Kind:
        if not column.sql and not column.parts:
            return self._relation.kinds.get(column.column.lower(), Kind.ANY)
        source = f"SELECT {self.expression(column)} AS value FROM {self._relation.sql}"
        return self._database.query(source).kinds.get("value", Kind.ANY)

    def _changed(self, settings: SourceSettings) -> tuple[str, Kind] | None:
        """The SQL of the time when a row was last changed, else written, and its kind; None where it is no column."""
        column = settings.columns.updated_at or settings.columns.occurred_at
        if column is None or column.json is not None:
            return None
        return self.expression(column), self._kind(column)

    def _changes(self, settings: SourceSettings) -> str | None:
        """The SQL of the time when a row was last changed; None where that is no column."""
        column = settings.columns.updated_at
        return self.expression(column) if column is not None and column.json is None else None

    def _value(self, index: int, name: str) -> str:
        column = self.columns.get(name)
        if column is None:
            return "NULL"
        raw = name in TIMES or name.startswith("details.")
        if column.json is not None:
            self.inside.append(self._inside(index, column, None if raw else _CUT.get(name, TEXT_LIMIT)))
            return "NULL"
        expression = self.expression(column)
        if name in TIMES:
            return self._database.time(expression, self.kind(name))
        if raw:
            return self._database.cut(expression, self._kind(column), _DETAIL_READ)
        return self._database.text(expression, _CUT.get(name))

    def _inside(self, index: int, column: Column, limit: int | None) -> Inside:
        number = self._documents.setdefault(column.column, len(self._documents))
        return Inside(index, self._first_document + number, documents.path_of(column.json or ""), limit)

    def _check(self, settings: SourceSettings) -> None:
        if settings.columns.key.json is not None:
            raise SourceError("columns.key must be a column by itself, as rows are looked up by it; it is inside JSON")
        known = self._relation.columns
        missing = [
            f'"{wanted}" (columns.{name}){did_you_mean(wanted, known)}'
            for name, column in self.columns.items()
            if not column.sql
            for wanted in column.parts or (column.column,)
            if wanted.lower() not in known
        ]
        if missing:
            raise SourceError(f"{self._relation.name} has no column {' and no column '.join(missing)}")


def mapped_columns(settings: SourceSettings) -> dict[str, Column]:
    """What is mapped, by its key in [sources.columns]. A row occurred when it was last changed, if no more is said."""
    columns = dict(_mapped(settings))
    changed = columns.pop("updated_at", None)
    return {"occurred_at": changed, **columns} if changed else columns


def _mapped(settings: SourceSettings) -> Iterator[tuple[str, Column]]:
    for name in (*FIELDS, "updated_at"):
        column: Column | None = getattr(settings.columns, name)
        if column is not None:
            yield name, column
    for name, column in settings.columns.details.items():
        yield f"details.{name}", column
