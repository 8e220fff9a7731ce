"""The seam between sources and a kind of database: what notifyd needs of one, and nothing more."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

Row = tuple[Any, ...]
Parameters = Mapping[str, Any]
T = TypeVar("T")


class Rows(Protocol):
    """The rows of one query, as a DB-API cursor gives them."""

    @property
    def description(self) -> Sequence[Sequence[Any]] | None:
        """One sequence per column, its name first; None where there are no rows to come."""
        ...

    def __iter__(self) -> Iterator[Row]: ...


class Kind(enum.Enum):
    """What a column compares with: a number or text (ANY: either, each equal to its own kind only)."""

    ANY = enum.auto()
    NUMBER = enum.auto()
    TEXT = enum.auto()
    UUID = enum.auto()
    BINARY = enum.auto()  # bytes, shown as text where they are one, else in hexadecimal
    DATE = enum.auto()
    TIME = enum.auto()  # without a zone
    INSTANT = enum.auto()
    DOCUMENT = enum.auto()  # JSON, or what else may be long: compared as text
    OTHER = enum.auto()  # compared as text


@dataclass(frozen=True, slots=True)
class Writers:
    """The transactions that may still bring rows with keys that were given already, by names of their own.

    `exact` is true where no other transaction can bring one: each that took a key is seen until it ends.
    `complete` is false where the list may be an old one, so that newer transactions are not in it. `hidden` says why
    no transaction can be seen at all, and what would show them; empty where they are.
    """

    names: frozenset[str]
    exact: bool
    complete: bool = True
    hidden: str = ""


@dataclass(frozen=True)
class Relation:
    """What is read: a table, a view or a query, as it stands behind FROM under the name `t`.

    `name` is for people. `columns` maps the lower-case name of each column to its SQL, and `kinds` to what
    it holds. `rowid` is the SQL of a number that the database itself gives each row, growing. `serials` are
    the columns whose values are whole numbers, never NULL, unique, and indexed. `writers` asks who is writing
    now; None where rows become visible in the order of their keys, as one writer excludes all others. `stored` is
    whether it is as it was for as long as nobody writes, which a view or a query that looks at the clock is not.
    """

    name: str
    sql: str
    columns: Mapping[str, str]
    rowid: str | None
    serials: frozenset[str]
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    writers: Callable[[], Writers] | None = None
    stored: bool = False


class Database(Protocol):
    """An open, read-only connection. Whatever goes wrong is a SourceError without the source's name."""

    def read(self, sql: str, parameters: Parameters, consume: Callable[[Rows], T]) -> T:
        """Run a query with `:name` parameters and give its rows to `consume`; what that returns.

        No lock and no transaction outlives the call, and each sees what is committed by then. `consume`
        may be called a second time, with all rows from the first on, where a text was not valid UTF-8;
        it is replaced then, never fatal.
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

    def cut(self, expression: str, kind: Kind, limit: int) -> str:
        """SQL for a value as it is, but no more than `limit` characters of what is a text.

        Where the rows of an answer come one by one, nothing has to be cut: they are never in memory together.
        """
        ...

    def joined(self, expressions: Sequence[str]) -> str:
        """SQL for the expressions as one text, a slash between them and a dash for NULL."""
        ...

    def time(self, expression: str, kind: Kind) -> str:
        """SQL for a time as the mapping reads it: what is an instant says so."""
        ...

    def sorts(self, sql: str) -> bool:
        """Whether the query has to sort rows: there is no index in that order."""
        ...

    def clock(self) -> datetime | None:
        """What the database takes for the time now; None where it has no clock but ours."""
        ...

    def version(self) -> int | None:
        """A number that is another one once somebody has written; None where the database has no such thing."""
        ...

    def replaced(self) -> bool:
        """Whether the database behind the connection is not the one that was opened any more."""
        ...

    def close(self) -> None:
        """Close the connection; it may be closed twice."""
        ...
