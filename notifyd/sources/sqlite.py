"""SQLite: a file, opened read-only."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from notifyd.settings.wording import did_you_mean
from notifyd.sources.database import Kind, Parameters, Relation, Row, Rows
from notifyd.sources.errors import SourceError

BUSY_TIMEOUT = 5.0
"""Seconds to wait for a writer's lock."""

TIMEOUT = 30.0
"""Seconds that one statement may take, where nobody says otherwise."""

_STEPS = 100_000
"""Of SQLite's machine, some milliseconds, between two looks at the clock."""

_ROWIDS = ("rowid", "_rowid_", "oid")
_TABLE = "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')"
_COLUMNS = 'SELECT name, type, "notnull", pk FROM pragma_table_xinfo(:table)'
_UNIQUE_ALONE = """
    SELECT lower(min(part.name)) FROM pragma_index_list(:table) AS one, pragma_index_info(one.name) AS part
    WHERE one."unique" AND NOT one.partial GROUP BY one.name HAVING count(*) = 1
"""

_EFFECTIVE: Mapping[str, bool] = {"effective_ids": os.access in os.supports_effective_ids}

T = TypeVar("T")


class SqliteDatabase:
    """An SQLite file; see `Database`. It may be used by any thread, but by one at a time."""

    def __init__(self, path: Path, busy_timeout: float = BUSY_TIMEOUT, timeout: float = TIMEOUT) -> None:
        self._path = path
        self._busy_timeout, self._timeout = busy_timeout, timeout
        self._until = math.inf
        self._identity = _identity(path)
        with self._explained():
            self._connection = sqlite3.connect(
                f"file:{urllib.parse.quote(str(path.absolute()))}?mode=ro",
                uri=True,
                timeout=busy_timeout,
                isolation_level=None,
                check_same_thread=False,
            )
            self._connection.set_progress_handler(self._is_late, _STEPS)

    def read(self, sql: str, parameters: Parameters, consume: Callable[[Rows], T]) -> T:
        with self._explained():
            try:
                return self._run(sql, parameters, consume)
            except sqlite3.OperationalError as error:
                if not str(error).startswith("Could not decode to UTF-8"):
                    raise
            # Only now: a text factory of our own takes as long as all the rest of a read.
            self._connection.text_factory = _decode
            try:
                return self._run(sql, parameters, consume)
            finally:
                self._connection.text_factory = str

    def _is_late(self) -> bool:
        return time.monotonic() > self._until

    def _run(self, sql: str, parameters: Parameters, consume: Callable[[Rows], T]) -> T:
        self._until = time.monotonic() + self._timeout
        with closing(self._connection.execute(sql, parameters)) as rows:
            return consume(rows)

    def table(self, name: str) -> Relation:
        existing = dict(self.read(_TABLE, {}, lambda rows: [(str(row[0]), str(row[1])) for row in rows]))
        found = next((known for known in existing if known.lower() == name.lower()), None)
        if found is None:
            raise SourceError(f'no table "{name}" in {self._path}{did_you_mean(name, existing)}', absent=True)
        kind, about = existing[found], self.read(_COLUMNS, {"table": found}, list)
        columns = {str(row[0]).lower(): f"t.{_quote(row[0])}" for row in about}
        rowid = self._rowid(found, columns) if kind == "table" else columns.get("rowid")
        if rowid is not None:
            columns.setdefault("rowid", rowid)
        kinds = {str(name).lower(): _kind(str(declared).upper()) for name, declared, *_ in about}
        return Relation(
            f'{kind} "{found}"',
            f"{_quote(found)} AS t",
            columns,
            rowid,
            self._serials(found, about),
            kinds,
            stored=kind == "table",
        )

    def query(self, sql: str) -> Relation:
        source = f"({sql.strip().rstrip(';')}\n) AS t"
        try:
            about = self.read(f"SELECT * FROM {source} LIMIT 0", {}, lambda rows: list(rows.description or ()))
        except SourceError as error:
            raise SourceError(f"query: {error}", absent=error.absent, busy=error.busy) from error
        columns = {name.lower(): f"t.{_quote(name)}" for name, *_ in about}
        return Relation("the query", source, columns, columns.get("rowid"), frozenset())

    def text(self, expression: str, limit: int | None = None) -> str:
        text = f"CAST({expression} AS TEXT)"
        return text if limit is None else f"substr({text}, 1, {limit})"

    def cut(self, expression: str, kind: Kind, limit: int) -> str:
        return expression

    def joined(self, expressions: Sequence[str]) -> str:
        return " || '/' || ".join(f"coalesce({self.text(one)}, '-')" for one in expressions)

    def time(self, expression: str, kind: Kind) -> str:
        return expression

    def sorts(self, sql: str) -> bool:
        plan = self.read(f"EXPLAIN QUERY PLAN {sql}", {}, list)
        return any("TEMP B-TREE" in str(step[-1]) for step in plan)

    def clock(self) -> datetime | None:
        return None

    def version(self) -> int:
        return int(self.read("PRAGMA data_version", {}, list)[0][0])

    def replaced(self) -> bool:
        return _identity(self._path) != self._identity

    def close(self) -> None:
        self._connection.close()

    def _rowid(self, table: str, columns: Mapping[str, str]) -> str | None:
        """The name of SQLite's own row number, unless a column hides it or the table has none."""
        name = next((name for name in _ROWIDS if name not in columns), None)
        if name is None:
            return None
        try:
            self.read(f"SELECT t.{name} FROM {_quote(table)} AS t LIMIT 0", {}, list)
        except SourceError as error:
            if error.busy:
                raise
            return None  # WITHOUT ROWID
        return f"t.{name}"

    def _serials(self, table: str, about: list[Row]) -> frozenset[str]:
        unique = self.read(_UNIQUE_ALONE, {"table": table}, lambda rows: {row[0] for row in rows})
        primary = [name.lower() for name, _, _, pk in about if pk]
        if len(primary) == 1:
            unique.update(primary)
        return frozenset(
            name.lower()
            for name, declared, not_null, pk in about
            if "INT" in declared.upper() and (not_null or pk) and name.lower() in unique
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self._explain(error) from error
        except OverflowError as error:
            raise SourceError(f"a number is too large for SQLite: {error}") from error

    def _explain(self, error: Exception) -> SourceError:
        """SQLite's error in words for the person who must mend it (https://www.sqlite.org/rescode.html)."""
        code = getattr(error, "sqlite_errorname", "")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return SourceError(
                f"{self._path} is locked: a writer has held it for more than {self._busy_timeout:g} s", busy=True
            )
        if code == "SQLITE_INTERRUPT":
            return SourceError(f"a statement took longer than {self._timeout:g} s (in {self._path}): does it ever end?")
        if code == "SQLITE_NOTADB":
            return SourceError(f"{self._path} is not an SQLite database, or it is encrypted")
        if code.startswith("SQLITE_CORRUPT"):
            return SourceError(f"{self._path} is corrupted ({error}); restore it, or try sqlite3's .recover")
        if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_IOERR")):
            return SourceError(f"{self._path} cannot be read ({error}); {_permission(self._path)}")
        text = " ".join(str(error).split())
        return SourceError(f"{text} (in {self._path})", absent=text.startswith("no such table"))


def _identity(path: Path) -> tuple[int, int]:
    """Which file it is; SourceError where it is none that can be read.

    It only asks: to open and close the file here would drop the locks that SQLite holds on it
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        about = path.stat()
    except FileNotFoundError:
        raise SourceError(f"no such file: {path}", absent=True) from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(about.st_mode):
        raise SourceError(f"{path} is a directory; expected the path of an SQLite file")
    if not stat.S_ISREG(about.st_mode):
        raise SourceError(f"{path} is not a regular file; expected an SQLite file")
    if not os.access(path, os.R_OK, **_EFFECTIVE):
        raise SourceError(f"{path} may not be read by this user; add it to the file's group, or chmod o+r")
    if about.st_size == 0:
        raise SourceError(f"{path} is an empty file, not an SQLite database yet", absent=True)
    return about.st_dev, about.st_ino


def _kind(declared: str) -> Kind:
    """A column of affinity TEXT turns each number that it is given, or compared with, into text; others take both."""
    is_text = "INT" not in declared and any(word in declared for word in ("CHAR", "CLOB", "TEXT"))
    return Kind.TEXT if is_text else Kind.ANY


def _permission(path: Path) -> str:
    """Which permission is missing. A reader of a file in WAL mode needs the two files beside it, too.

    To open the file as immutable would do without them, and would miss what a live writer commits.
    """
    if not os.access(path.parent, os.X_OK, **_EFFECTIVE):
        return f"this user may not enter its folder: chmod o+x {path.parent}, or add it to the folder's group"
    beside = [Path(f"{path}{suffix}") for suffix in ("-wal", "-shm")]
    for file in beside:
        if file.exists() and not os.access(file, os.R_OK, **_EFFECTIVE):
            return f"this user may not read {file}: add it to the file's group, and let its writer use umask 027"
    if not all(file.exists() for file in beside) and not os.access(path.parent, os.W_OK, **_EFFECTIVE):
        return (
            f"it is in WAL mode, the files {path.name}-wal and -shm are gone as nobody writes to it now, and this "
            f"user may not make them: let its group write to {path.parent} and this user be in it"
        )
    return "may this user read it and its folder, and is its disk in order?"


def _quote(name: str) -> str:
    """A name in SQL. Always qualify it: SQLite reads "name" alone as text where there is no such column."""
    return '"' + name.replace('"', '""') + '"'


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
