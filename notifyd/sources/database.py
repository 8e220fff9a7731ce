"""The seam between sources and a kind of database: what notifyd needs of one, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Row = tuple[Any, ...]
Parameters = Mapping[str, Any]
T = TypeVar("T")


class Rows(Protocol):
    """The rows of one query, as a DB-API cursor gives them."""

    @property
    def description(self) -> Sequence[Sequence[Any]]:
        """One sequence per column, its name first."""
        ...

    def __iter__(self) -> Iterator[Row]: ...


@dataclass(frozen=True)
class Relation:
    """What is read: a table, a view or a query, as it stands behind FROM under the name `t`.

    `name` is for people. `columns` maps the lower-case name of each column to its SQL. `rowid` is the
    SQL of a number that the database itself gives each row, growing. `serials` are the columns whose
    values are whole numbers, never NULL, unique, and indexed.
    """

    name: str
    sql: str
    columns: Mapping[str, str]
    rowid: str | None
    serials: frozenset[str]


class Database(Protocol):
    """An open, read-only connection. Whatever goes wrong is a SourceError without the source's name."""

    def read(self, sql: str, parameters: Parameters, consume: Callable[[Rows], T]) -> T:
        """Run a query with `:name` parameters and give its rows to `consume`; what that returns.

        No lock and no transaction outlives the call. `consume` may be called a second time, with
        all rows from the first on, where a text was not valid UTF-8; it is replaced then, never fatal.
        """
        ...

    def table(self, name: str) -> Relation:
        """A table or view."""
        ...

    def query(self, sql: str) -> Relation:
        """A SELECT as a relation."""
        ...

    def text(self, expression: str, limit: int | None = None) -> str:
        """SQL for the expression as text, at most `limit` characters of it; NULL stays NULL."""
        ...

    def replaced(self) -> bool:
        """Whether the database behind the connection is not the one that was opened any more."""
        ...

    def close(self) -> None:
        """Close the connection; it may be closed twice."""
        ...
