"""One connection to a sync log, with all that was compiled for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from notifyd.core.watching import MOST_OPEN
from notifyd.model import Record, Status
from notifyd.settings import SourceSettings, format_duration, scheme_of, sqlite_path
from notifyd.sources.batch import About, Found, SetAside, Start
from notifyd.sources.database import Database, Row
from notifyd.sources.error_query import ErrorQuery
from notifyd.sources.errors import SourceError
from notifyd.sources.mapping import unmapped
from notifyd.sources.misfits import misfits
from notifyd.sources.place import Of, Place
from notifyd.sources.resume import of, resume
from notifyd.sources.sqlite import SqliteDatabase
from notifyd.sources.strategies import Strategy, choose
from notifyd.sources.sync_log import SCANNED, SyncLog
from notifyd.sources.timestamp import ByTimestamp

_PAGES_PASSED = 20
_FOUND = 50
_ENDED = 1_000
_NOT_ENDED = (Status.RUNNING, Status.RETRYING, Status.UNMAPPED)
_CLOCKS_AGREE = timedelta(seconds=10)

Mapped = TypeVar("Mapped", Record, Record | SetAside)


@dataclass(slots=True)
class Session:
    """An open log, the strategy that reads it, and the query that completes its failures."""

    settings: SourceSettings
    database: Database
    log: SyncLog
    strategy: Strategy
    errors: ErrorQuery | None
    of: Of
    read_to_end: tuple[int, Place] | None = None
    """The version of the database in which all of the log was read, and the place that came of it."""

    @property
    def rewatch(self) -> timedelta | None:
        """How long rows that have ended are looked up; None where a row is no run by itself."""
        return self.settings.rewatch if self.settings.rows == "runs" else None

    def started(self, place: Place, now: datetime) -> Start:
        """A start at this place, with the rows up to it that are open now."""
        return Start(replace(place, of=self.of).cursor, self.strategy.open_rows(self.log, place, now))

    def read(self, place: Place, now: datetime, limit: int) -> Found:
        """The next rows. Pages that were read before, as a window by time reads them again, are passed at once.

        Else each of them would be a batch of its own, whose cursor is kept: of a busy log, many at each poll.
        """
        version = self.log.version()  # before anything is read: what is written meanwhile makes it another
        if version is not None and (version, place) == self.read_to_end:
            return Found([], [], place, at_end=True)
        found = self._resumed(place, now) or self.strategy.read(self.log, place, now, limit)
        for _ in range(_PAGES_PASSED):
            if found.at_end or found.is_news:
                break
            found = self.strategy.read(self.log, found.place, now, limit)
        found = replace(found, place=replace(found.place, of=self.of))
        # News that the place does not show, as after a clock was set back, are given again until they are kept.
        again = found.is_news and found.place == place
        whole = found.at_end and found.whole and not again
        self.read_to_end = (version, found.place) if version is not None and whole else None
        return found

    def ended(self, place: Place, now: datetime) -> list[Record]:
        """The newest rows before this place that have ended, oldest first, where they are watched."""
        if not self.rewatch:
            return []
        rows = self.log.newest(self.strategy.order, _ENDED)
        behind = [row for row in reversed(rows) if self.strategy.passed(self.log, place, row)]
        records = [self.log.mapping.record_or_aside(row, now) for row in behind]
        return [one for one in records if isinstance(one, Record) and one.status not in _NOT_ENDED]

    def _resumed(self, place: Place, now: datetime) -> Found | None:
        """The rows to watch of a log that was waited for or that the settings name anew; None where it is read on."""
        resumed = resume(self.log, self.strategy, self.settings, self.of, place, now)
        if resumed is None:
            return None
        records = self.strategy.open_rows(self.log, resumed.place, now) if resumed.begins else []
        return Found(records, [], resumed.place, at_end=False, notes=(resumed.note,) if resumed.note else ())

    def about(self, place: Place | None, now: datetime) -> About:
        """How the log is read, and what should be mended."""
        relation, order = self.log.relation, self.strategy.order
        warnings = []
        if self.database.sorts(f"SELECT {order} FROM {relation.sql} ORDER BY {order} DESC LIMIT 1"):
            column = order.removeprefix("t.")
            warnings.append(
                f"{relation.name} has no index on {column}: each poll reads all of it"
                if self.settings.query is None
                else f"the query is sorted by {column} at each poll, which reads all of it: "
                "has no index what it is sorted by, or what its joins go by?"
            )
        if key := self._key_without_index():
            warnings.append(f"{relation.name} has no index on {key}: each look at rows that run reads all of it")
        if self.rewatch is not None and not self.strategy.sees_changes and self.log.selection.changes is not None:
            changed = self.log.selection.changes.removeprefix("t.")
            warnings.append(
                f"{relation.name} has no index on {changed}: rows that are run again in place are looked up one by one"
            )
        if self.log.is_crowded():
            warnings.append(
                f"more than {MOST_OPEN:,} of its rows are open: of those the oldest are not watched, so a failure of "
                "theirs is not told; end or delete the rows that nobody will ever run"
            )
        clock = self.database.clock()
        ahead = clock - now if clock else None
        if ahead is not None and abs(ahead) > _CLOCKS_AGREE:
            seconds, side = round(abs(ahead).total_seconds()), "ahead of" if ahead > timedelta() else "behind"
            warnings.append(f"the clock of its database is {format_duration(timedelta(seconds=seconds))} {side} ours")
        by_time = self.strategy.name == ByTimestamp.name
        warnings += misfits(self.log, order, by_time=by_time, errors=self.errors, now=now)
        gaps = sum(len(gap.ranges) for gap in place.gaps) if place else 0
        text = f"{self.strategy.about(self.log)}{self._again()}"
        return About(self.strategy.name, text, gaps, tuple(warnings), ahead)

    def _key_without_index(self) -> str | None:
        """What rows are looked up by, where that is neither their order nor indexed."""
        key = self.log.sought("key")
        if key == self.strategy.order:
            return None
        sql = f"SELECT {key} FROM {self.log.relation.sql} ORDER BY {key} DESC LIMIT 1"
        column = self.settings.columns.key
        return (", ".join(column.parts) or column.column) if self.database.sorts(sql) else None

    def _again(self) -> str:
        """What is seen of a row that is run again in place, where the strategy does not see it."""
        if self.strategy.sees_changes or self.rewatch is None:
            return ""
        if not self.rewatch:
            return "; a row that is run again in place is not seen"
        return f"; a row that is run again in place is seen within {format_duration(self.rewatch)} of its end"

    def complete(self, record: Mapped) -> Mapped:
        """A failure with the text that the error query finds for it; anything else as it is."""
        return self.errors.complete(record) if self.errors and isinstance(record, Record) else record

    def asking(self) -> AbstractContextManager[None]:
        """The error queries in here are those of one batch."""
        return self.errors.batch() if self.errors else nullcontext()

    def mapped(self, row: Row, now: datetime) -> Record | SetAside:
        """One row, completed."""
        return self.complete(self.log.mapping.record_or_aside(row, now))

    def with_keys(self, keys: Sequence[str], now: datetime) -> list[Record]:
        """The rows with one of these keys, oldest first; a row that cannot be mapped is an unmapped Record."""
        where, parameters = self.log.having("key", keys)
        records = self._records(self.log.newest(self.strategy.order, SCANNED, where, parameters), now)
        wanted = set(keys)
        return [one for one in records if one.key in wanted]  # to the database, 1 and 1.0 are one number

    def of_run(self, run_id: str, now: datetime) -> list[Record]:
        """The newest rows of a run, oldest first. A run id inside JSON is sought among the newest rows."""
        if self.log.selection.plain("run_id") is not None:
            where, parameters = self.log.having("run_id", [run_id])
            return self._records(self.log.newest(self.strategy.order, _FOUND, where, parameters), now)
        if "run_id" not in self.log.selection.columns:
            return []
        rows = self.log.newest(self.strategy.order, SCANNED)
        mine = [row for row in rows if _run_id(self.log.mapping.record_or_aside(row, now)) == run_id]
        return self._records(mine[:_FOUND], now)

    def _records(self, newest_first: Sequence[Row], now: datetime) -> list[Record]:
        mapped = [self.mapped(row, now) for row in reversed(newest_first)]
        return [unmapped(one, now) if isinstance(one, SetAside) else one for one in mapped]


def connect(settings: SourceSettings, busy_timeout: float) -> Session:
    """Open the log that the settings describe; SourceError, without the source's name, where it cannot be."""
    database = _database(settings, busy_timeout)
    try:
        log = SyncLog(settings, database)
        strategy = choose(log, settings)
    except SourceError:
        database.close()
        raise
    query, mapping = settings.error_query, log.mapping
    errors, within = None, settings.timeout.total_seconds() / 3  # of a look-up, and of a read
    if query:
        errors = ErrorQuery(query, database, mapping.ignores, mapping.redact, settings.text_limit, within)
    return Session(settings, database, log, strategy, errors, of(settings))


def _database(settings: SourceSettings, busy_timeout: float) -> Database:
    if not settings.url.resolved:
        raise SourceError("its url is a secret that this command does not resolve")
    url = settings.url.reveal()
    match scheme_of(url):
        case "sqlite":
            return SqliteDatabase(sqlite_path(url), busy_timeout, settings.timeout.total_seconds())
        case "postgresql":
            return _postgres()(url)
        case "mysql":
            return _mysql()(url)
    raise SourceError("its url names no database that notifyd can read")


def _postgres() -> Callable[[str], Database]:
    """Imported only where it is used: it takes time and memory, and comes with an extra."""
    try:
        from notifyd.sources.postgres import PostgresDatabase
    except ImportError as error:
        raise _missing("PostgreSQL needs psycopg", "postgres", error) from error
    return PostgresDatabase


def _mysql() -> Callable[[str], Database]:
    try:
        from notifyd.sources.mysql import MysqlDatabase
    except ImportError as error:
        raise _missing("MySQL and MariaDB need PyMySQL", "mysql", error) from error
    return MysqlDatabase


def _missing(what: str, extra: str, error: ImportError) -> SourceError:
    return SourceError(f'{what}, which is not here ({error}): pip install "notifyd[{extra}]"')


def _run_id(record: Record | SetAside) -> str | None:
    return record.run_id if isinstance(record, Record) else None
