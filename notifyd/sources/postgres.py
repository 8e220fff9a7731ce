"""PostgreSQL: a session that only reads, through psycopg 3 (the extra `postgres`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.string import TextLoader

from notifyd.settings.wording import did_you_mean
from notifyd.sources.database import Kind, Parameters, Relation, Row, Rows, Writers
from notifyd.sources.errors import SourceError
from notifyd.sources.placeholders import formatted

STATEMENT_TIMEOUT: Final = 30
"""Seconds that one statement may take."""

LOCK_TIMEOUT: Final = 5
"""Seconds to wait for a lock: only ALTER, DROP and their like hold one that a reader waits for."""

CONNECT_TIMEOUT: Final = 10
"""Seconds that connecting may take."""

# Set one by one and not as startup options, which poolers refuse.
_SESSION: Final = (
    "SET default_transaction_read_only = on",
    f"SET statement_timeout = '{STATEMENT_TIMEOUT}s'",
    f"SET lock_timeout = '{LOCK_TIMEOUT}s'",
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO'",
)
_NO_ENCODING: Final = "SQL_ASCII"
_UNKNOWN: Final = 705
_TEXTS: Final = (18, 19, 25, 1042, 1043)
_AS_TEXT: Final = ("timestamp", "timestamptz", "date", "time", "timetz", "interval", "json", "jsonb")
_KINDS: Final = {
    **dict.fromkeys((20, 21, 23, 26, 700, 701, 1700), Kind.NUMBER),
    **dict.fromkeys(_TEXTS, Kind.TEXT),
    1082: Kind.DATE,
    1114: Kind.TIME,
    1184: Kind.INSTANT,
    2950: Kind.UUID,
    **dict.fromkeys((114, 142, 3802), Kind.DOCUMENT),
}

_TABLES: Final = """
    SELECT c.oid, n.nspname, c.relname, c.relkind IN ('r', 'p'), pg_table_is_visible(c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""
_SERIALS: Final = """
    SELECT DISTINCT lower(a.attname) FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = :table AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts = 1
      AND a.attnotnull AND a.atttypid IN (20, 21, 23)
"""
# The table, its partitions and heirs, and every sequence that a column of them owns or takes its default from.
_WRITTEN: Final = """
    WITH RECURSIVE family AS (
        SELECT CAST(:table AS oid) AS oid
        UNION SELECT i.inhrelid FROM pg_inherits i JOIN family f ON i.inhparent = f.oid
    ), sequences AS (
        SELECT d.objid AS oid FROM pg_depend d JOIN family f ON d.refobjid = f.oid
        WHERE d.classid = CAST('pg_class' AS regclass) AND d.refclassid = CAST('pg_class' AS regclass)
        UNION
        SELECT d.refobjid FROM pg_depend d JOIN pg_attrdef a ON a.oid = d.objid JOIN family f ON a.adrelid = f.oid
        WHERE d.classid = CAST('pg_attrdef' AS regclass) AND d.refclassid = CAST('pg_class' AS regclass)
    )
    SELECT oid, NULL, NULL FROM family
    UNION ALL SELECT s.seqrelid, s.seqcache, s.seqincrement FROM pg_sequence s JOIN sequences q ON q.oid = s.seqrelid
"""
_WRITERS: Final = """
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""

T = TypeVar("T")


class _Replacing(Loader):
    """Text as UTF-8, where what is not valid is replaced. Only where it may be: it is slower than psycopg's own."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "replace")


class PostgresDatabase:
    """A PostgreSQL database; see `Database`. It may be used by any thread, but by one at a time."""

    def __init__(self, url: str) -> None:
        with _explained():
            self._connection = psycopg.connect(
                url,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT,
                application_name="notifyd",
                prepare_threshold=None,
            )
            # A server whose texts have no encoding converts none, and would refuse those that are not valid in ours.
            encoded = self._connection.info.parameter_status("server_encoding") != _NO_ENCODING
            for name in _AS_TEXT:  # as they stand: Python has no infinity and no year 10000
                self._connection.adapters.register_loader(name, TextLoader if encoded else _Replacing)
            for oid in () if encoded else (*_TEXTS, _UNKNOWN):
                self._connection.adapters.register_loader(oid, _Replacing)
            for statement in (*_SESSION, f"SET client_encoding = '{'UTF8' if encoded else _NO_ENCODING}'"):
                self._connection.execute(statement)

    def read(self, sql: str, parameters: Parameters, consume: Callable[[Rows], T]) -> T:
        with _explained(), self._connection.cursor() as cursor:
            cursor.execute(formatted(sql, frozenset(parameters)).encode(), parameters)
            return consume(cursor)

    def table(self, name: str) -> Relation:
        existing = self.read(_TABLES, {}, list)
        oid, schema, table, is_table = _named(name, existing)
        sql = f"{_quote(schema)}.{_quote(table)} AS t"
        serials = self.read(_SERIALS, {"table": oid}, lambda rows: frozenset(row[0] for row in rows))
        columns, kinds = self._columns(sql)
        writers = self._writers_of_table(oid) if is_table else self._writers_of_all
        return Relation(f'{"table" if is_table else "view"} "{table}"', sql, columns, None, serials, kinds, writers)

    def query(self, sql: str) -> Relation:
        source = f"({sql.strip().rstrip(';')}\n) AS t"
        try:
            columns, kinds = self._columns(source)
        except SourceError as error:
            raise SourceError(f"query: {error}", absent=error.absent, busy=error.busy) from error
        return Relation("the query", source, columns, None, frozenset(), kinds, self._writers_of_all)

    def text(self, expression: str, limit: int | None = None) -> str:
        text = f"CAST({expression} AS text)"
        return text if limit is None else f"substr({text}, 1, {limit})"

    def cut(self, expression: str, kind: Kind, limit: int) -> str:
        return self.text(expression, limit) if kind in (Kind.TEXT, Kind.DOCUMENT) else expression

    def joined(self, expressions: Sequence[str]) -> str:
        return " || '/' || ".join(f"coalesce({self.text(one)}, '-')" for one in expressions)

    def time(self, expression: str, kind: Kind) -> str:
        return expression

    def sorts(self, sql: str) -> bool:
        # A small table is sorted even where it has an index, unless that is made to look expensive.
        self.read("SET enable_sort = off", {}, lambda _: None)
        plan = self.read(f"EXPLAIN {sql}", {}, list)
        self.read("RESET enable_sort", {}, lambda _: None)
        return any("Sort" in str(line[0]) for line in plan)

    def clock(self) -> datetime | None:
        text = self.read("SELECT clock_timestamp()", {}, lambda rows: str(next(iter(rows))[0]))
        return datetime.fromisoformat(text)

    def version(self) -> None:
        return None

    def replaced(self) -> bool:
        return False

    def close(self) -> None:
        self._connection.close()

    def _columns(self, source: str) -> tuple[dict[str, str], dict[str, Kind]]:
        about: list[Any] = self.read(f"SELECT * FROM {source} LIMIT 0", {}, lambda rows: list(rows.description or ()))
        names = [str(column[0]) for column in about]
        kinds = {name.lower(): _KINDS.get(column[1], Kind.OTHER) for name, column in zip(names, about, strict=True)}
        return {name.lower(): f"t.{_quote(name)}" for name in names}, kinds

    def _writers_of_table(self, oid: int) -> Callable[[], Writers]:
        """INSERT holds RowExclusiveLock on the table, and nextval on its sequence, until the transaction has ended.

        A sequence that hands out keys in advance (a cache, or steps for a pool) may have given them to a session
        that has no transaction now; and keys that come from elsewhere are not seen to be taken at all.
        """
        written = self.read(_WRITTEN, {"table": oid}, list)
        sequences = [row for row in written if row[1] is not None]
        exact = bool(sequences) and all(cache == step == 1 for _, cache, step in sequences)
        relations = [row[0] for row in written]
        return lambda: self._writers(f"{_WRITERS} AND relation = ANY(:relations)", {"relations": relations}, exact)

    def _writers_of_all(self) -> Writers:
        """Whoever writes to anything in the database: a view or a query does not say what it reads."""
        return self._writers(_WRITERS, {}, exact=False)

    def _writers(self, sql: str, parameters: Parameters, exact: bool) -> Writers:
        standby = self.read("SELECT pg_is_in_recovery()", {}, lambda rows: next(iter(rows))[0])
        names = self.read(sql, parameters, lambda rows: frozenset(str(row[0]) for row in rows))
        return Writers(names, exact and not standby, hidden="it is a standby" if standby else "")


def _named(name: str, existing: list[Row]) -> tuple[int, str, str, bool]:
    """The table or view of this name: `table` on the search path, or `schema.table`."""
    schema, _, table = name.rpartition(".")
    for fold in (str, str.lower):
        for oid, its_schema, its_name, is_table, visible in existing:
            bare = visible and fold(its_name) == fold(name)
            if bare or (fold(its_name) == fold(table) and fold(its_schema) == fold(schema)):
                return oid, its_schema, its_name, is_table
    known = [row[2] if row[4] else f"{row[1]}.{row[2]}" for row in existing]
    raise SourceError(f'no table "{name}" in the database{did_you_mean(name, known)}', absent=True)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise _explain(error) from error
    except UnicodeError as error:
        raise SourceError(f"a text is not valid in its encoding ({error})") from error


def _explain(error: psycopg.Error) -> SourceError:
    """The server's error on one line, with how to mend it (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""
    text = " ".join((error.diag.message_primary or str(error)).split())
    match error.sqlstate:
        case "42P01":
            return SourceError(text, absent=True)
        case "42501":
            return SourceError(f"{text}: let notifyd's role read it (GRANT SELECT ON …, and USAGE ON SCHEMA …)")
        case "57014":
            return SourceError(f"a statement took longer than {STATEMENT_TIMEOUT} s: has what orders the log an index?")
        case "55P03":
            return SourceError(f"the log has been locked for more than {LOCK_TIMEOUT} s", busy=True)
        case "40001" | "40P01":
            return SourceError(text, busy=True)
    return SourceError(f"{text} (PostgreSQL)")


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
