"""MySQL and MariaDB: a session that only reads, through PyMySQL (the extra `mysql`)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.converters import conversions

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

# As they stand: Python has no 0000-00-00.
_AS_TEXT: Final = (
    FIELD_TYPE.TIMESTAMP,
    FIELD_TYPE.DATETIME,
    FIELD_TYPE.DATE,
    FIELD_TYPE.TIME,
    FIELD_TYPE.YEAR,
)
_NUMBERS: Final = ("TINY", "SHORT", "LONG", "INT24", "LONGLONG", "DECIMAL", "NEWDECIMAL", "FLOAT", "DOUBLE", "YEAR")
_TEXTS: Final = ("VARCHAR", "VAR_STRING", "STRING", "ENUM", "SET", "TINY_BLOB", "MEDIUM_BLOB", "LONG_BLOB", "BLOB")
_BYTES: Final = (FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING)
_BINARY: Final = 63  # the "character set" of what has none
_KINDS: Final = {
    **{getattr(FIELD_TYPE, name): Kind.NUMBER for name in _NUMBERS},
    **{getattr(FIELD_TYPE, name): Kind.TEXT for name in _TEXTS},
    FIELD_TYPE.DATE: Kind.DATE,
    FIELD_TYPE.DATETIME: Kind.TIME,
    FIELD_TYPE.TIMESTAMP: Kind.INSTANT,
    FIELD_TYPE.JSON: Kind.DOCUMENT,
}

# Databases and tables are named as values in each place: else the server opens every table that it has.
_TABLES: Final = """
    SELECT table_schema, table_name, table_type LIKE '%TABLE' FROM information_schema.tables
    WHERE table_schema = :schema
"""
_SERIALS: Final = """
    SELECT lower(min(s.column_name)) FROM information_schema.statistics s
    JOIN information_schema.columns c ON c.column_name = s.column_name
    WHERE s.table_schema = :schema AND s.table_name = :table AND s.non_unique = 0
      AND c.table_schema = :schema AND c.table_name = :table
      AND c.is_nullable = 'NO' AND c.data_type IN ('tinyint', 'smallint', 'mediumint', 'int', 'bigint')
      AND (SELECT count(*) FROM information_schema.statistics o WHERE o.table_schema = :schema
           AND o.table_name = :table AND o.index_name = s.index_name) = 1
    GROUP BY s.index_name
"""
_WRITERS: Final = """
    SELECT concat(trx_mysql_thread_id, '/', trx_started), trx_mysql_thread_id = connection_id(), trx_query
    FROM information_schema.innodb_trx
"""

_NO_TABLE, _DENIED, _GONE = (1146,), (1044, 1142, 1143, 1370), (2006, 2013, 2014, 1927)
_NO_PROCESS: Final = 1227
_TRIES: Final = 3
_LIST_IS_KEPT: Final = 0.12  # seconds
_TIMED_OUT, _LOCKED = (1969, 3024), (1205, 1213, 1412)

T = TypeVar("T")


class MysqlDatabase:
    """A MySQL or MariaDB database; see `Database`. It may be used by any thread, but by one at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._schema = unquote(parts.path.removeprefix("/"))
        self._may_see_writers = True
        self._look = ""
        self._binary = set[str]()  # the SQL of the columns that hold bytes
        with _explained():
            self._connection = _connected(parts, self._schema)
        server = self.read("SELECT version()", {}, lambda rows: str(next(iter(rows))[0]))
        for statement in _session(server):
            self.read(statement, {}, lambda _: None)

    def read(self, sql: str, parameters: Parameters, consume: Callable[[Rows], T]) -> T:
        with _explained(), self._connection.cursor() as cursor:
            cursor.execute(formatted(sql, frozenset(parameters)), dict(parameters))
            return consume(cursor)

    def table(self, name: str) -> Relation:
        existing = [row for one in _databases(name, self._schema) for row in self.read(_TABLES, {"schema": one}, list)]
        schema, table, is_table = _named(name, self._schema, existing)
        sql = f"{_quote(schema)}.{_quote(table)} AS t"
        parameters = {"schema": schema, "table": table}
        serials = self.read(_SERIALS, parameters, lambda rows: frozenset(row[0] for row in rows))
        columns, kinds = self._columns(sql)
        return Relation(
            f'{"table" if is_table else "view"} "{table}"', sql, columns, None, serials, kinds, self._writers
        )

    def query(self, sql: str) -> Relation:
        source = f"({sql.strip().rstrip(';')}\n) AS t"
        try:
            columns, kinds = self._columns(source)
        except SourceError as error:
            raise SourceError(f"query: {error}", absent=error.absent, busy=error.busy) from error
        return Relation("the query", source, columns, None, frozenset(), kinds, self._writers)

    def text(self, expression: str, limit: int | None = None) -> str:
        text = f"CAST({expression} AS CHAR)"
        if expression in self._binary:  # a UUID, say: as text, many of them would be the same
            text = f"IF(CAST({text} AS BINARY) = {expression}, {text}, lower(hex({expression})))"
        return text if limit is None else f"substr({text}, 1, {limit})"

    def cut(self, expression: str, kind: Kind, limit: int) -> str:
        if kind is Kind.DOCUMENT:
            return self.text(expression, limit)
        return f"substr({expression}, 1, {limit})" if kind in (Kind.TEXT, Kind.BINARY) else expression

    def joined(self, expressions: Sequence[str]) -> str:
        texts = ", ".join(f"coalesce({self.text(one)}, '-')" for one in expressions)
        return f"concat_ws('/', {texts})"

    def time(self, expression: str, kind: Kind) -> str:
        # The session's zone is UTC, so a TIMESTAMP is in UTC, while a DATETIME is in whatever zone it was written.
        return f"concat({expression}, 'Z')" if kind is Kind.INSTANT else expression

    def sorts(self, sql: str) -> bool:
        return any("filesort" in str(step[-1]) for step in self.read(f"EXPLAIN {sql}", {}, list))

    def clock(self) -> datetime | None:
        text = self.read("SELECT utc_timestamp(6)", {}, lambda rows: str(next(iter(rows))[0]))
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    def version(self) -> None:
        return None

    def replaced(self) -> bool:
        return False

    def close(self) -> None:
        with suppress(pymysql.Error):  # closed before
            self._connection.close()

    def _columns(self, source: str) -> tuple[dict[str, str], dict[str, Kind]]:
        about: list[Any] = self.read(f"SELECT * FROM {source} LIMIT 0", {}, _about)
        columns = {name.lower(): f"t.{_quote(name)}" for name, _, _ in about}
        kinds = {name.lower(): Kind.BINARY if binary else _KINDS.get(code, Kind.OTHER) for name, code, binary in about}
        self._binary |= {columns[name] for name, kind in kinds.items() if kind is Kind.BINARY}
        return columns, kinds

    def _writers(self) -> Writers:
        """All open transactions, where the privilege PROCESS shows them.

        InnoDB makes its list anew only when nobody has read it for 0.1 s, and says nothing of its age. So we read
        it in a transaction of our own, which stands in it, with this very statement, if it is new.
        """
        names, complete = frozenset[str](), False
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_LIST_IS_KEPT)
            found = self._listed() if self._may_see_writers else []
            names = frozenset(str(name) for name, own, _ in found if not own)
            complete = not self._may_see_writers or any(own and self._look in str(sql) for _, own, sql in found)
            if complete:
                break
        hidden = "" if self._may_see_writers else "its user has not the privilege PROCESS (GRANT PROCESS ON *.* TO …)"
        return Writers(names, exact=False, complete=complete, hidden=hidden)

    def _listed(self) -> list[Row]:
        self._look = f"look {uuid.uuid4().hex}"
        self.read("START TRANSACTION WITH CONSISTENT SNAPSHOT", {}, lambda _: None)
        try:
            return self.read(f"/* {self._look} */ {_WRITERS}", {}, list)
        except SourceError as error:
            if not isinstance(error.__cause__, pymysql.Error) or error.__cause__.args[0] != _NO_PROCESS:
                raise
            self._may_see_writers = False
            return []
        finally:
            self.read("COMMIT", {}, lambda _: None)


def _about(rows: Rows) -> list[tuple[str, int, bool]]:
    """The name and type of each column, and whether it holds bytes, which a DB-API cursor does not say."""
    fields = getattr(getattr(rows, "_result", None), "fields", ())
    return [(str(one.name), one.type_code, one.type_code in _BYTES and one.charsetnr == _BINARY) for one in fields]


def _connected(parts: SplitResult, schema: str) -> pymysql.Connection[Any]:
    return pymysql.connect(
        host=parts.hostname or "localhost",
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or "").encode(),  # a text would be sent as Latin-1
        database=schema,
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=2 * STATEMENT_TIMEOUT,
        program_name="notifyd",
        conv={key: value for key, value in conversions.items() if key not in _AS_TEXT},
    )


def _session(server: str) -> tuple[str, ...]:
    """What makes a session read only, bounded, and its answers the same on every server."""
    limit = (
        f"SET SESSION max_statement_time = {STATEMENT_TIMEOUT}"
        if "mariadb" in server.lower()
        else f"SET SESSION max_execution_time = {STATEMENT_TIMEOUT * 1000}"
    )
    return (
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET SESSION TRANSACTION READ ONLY",
        f"SET SESSION lock_wait_timeout = {LOCK_TIMEOUT}",
        "SET SESSION time_zone = '+00:00'",
        "SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'",
        limit,
    )


def _databases(name: str, schema: str) -> list[str]:
    """Where a table of this name may be."""
    other = name.rpartition(".")[0]
    return [schema, other] if other not in ("", schema) else [schema]


def _named(name: str, schema: str, existing: list[Row]) -> tuple[str, str, bool]:
    """The table or view of this name: `table` in the url's database, or `database.table`."""
    other, _, table = name.rpartition(".")
    for fold in (str, str.lower):
        for its_schema, its_name, is_table in existing:
            bare = its_schema == schema and fold(its_name) == fold(name)
            if bare or (fold(its_name) == fold(table) and fold(its_schema) == fold(other)):
                return its_schema, its_name, bool(is_table)
    known = [row[1] for row in existing if row[0] == schema]
    raise SourceError(f'no table "{name}" in the database{did_you_mean(name, known)}', absent=True)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except pymysql.Error as error:
        raise _explain(error) from error
    except UnicodeError as error:
        raise SourceError(f"a name or text is not valid in its encoding ({error})") from error
    except OSError as error:
        raise SourceError(f"the connection failed ({error})") from error


def _explain(error: pymysql.Error) -> SourceError:
    """The server's error on one line, with how to mend it (https://mariadb.com/kb/en/mariadb-error-code-reference/)."""
    code = error.args[0] if error.args else 0
    text = " ".join(str(error.args[-1] if error.args else error).split())
    if code in _NO_TABLE:
        return SourceError(text, absent=True)
    if code in _DENIED:
        return SourceError(f"{text}: let notifyd's user read it (GRANT SELECT ON … TO …)")
    if code in _TIMED_OUT:
        return SourceError(f"a statement took longer than {STATEMENT_TIMEOUT} s: has what orders the log an index?")
    if code in _LOCKED:
        return SourceError(f"the log is locked ({text})", busy=True)
    if code in _GONE or code == 0:
        return SourceError(f"the connection was lost ({text or 'closed'})")
    return SourceError(f"{text} (MySQL {code})")


def _quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
