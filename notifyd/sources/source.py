"""A source: one sync log, read-only, through whatever happens to its database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from notifyd.model import Record, Status
from notifyd.settings import SourceSettings
from notifyd.sources.batch import About, Batch, SetAside, Start
from notifyd.sources.documents import shown
from notifyd.sources.errors import SourceError
from notifyd.sources.place import Cursor, Place, place_of, waiting
from notifyd.sources.redaction import hiding
from notifyd.sources.rewind import Target, rewound
from notifyd.sources.selection import TEXT_LIMIT
from notifyd.sources.session import Session, connect
from notifyd.sources.sqlite import BUSY_TIMEOUT
from notifyd.sources.sync_log import SCANNED

BATCH = 5_000
"""The most rows of one batch."""

_SMALL_BATCH = 500  # where a row may be as long as a JSON document
_KEYS_AT_ONCE = 400


def open_source(settings: SourceSettings) -> Source:
    """The source that the settings describe. It connects when it is first read."""
    return Source(settings)


class Source:
    """One sync log. Synchronous; any thread may use it, but one at a time.

    Every method but `close` connects where it must, and raises SourceError (one line, with the
    source's name) when the log cannot be read; the next call connects anew. `now` is the time of
    reading, aware and in UTC: it becomes the records' `read_at`.
    """

    def __init__(self, settings: SourceSettings, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self.settings = settings
        self._busy_timeout = busy_timeout
        self._open: Session | None = None
        self._hide = hiding(settings)
        self._last: tuple[Cursor, Place] | None = None

    def start(self, now: datetime) -> Start:
        """Where a first start begins (settings: start), and the rows before it that are running or retrying.

        A log that does not exist yet is no error here: it is waited for, and `read` says so until it
        appears. What it holds then is read, except what is dated before this start.
        """
        begin = self.settings.start
        try:
            with self._session() as session:
                return self._started(session, session.strategy.begin(session.log, begin, now), now)
        except SourceError as error:
            if not error.absent:
                raise
            return Start(waiting(begin, now).cursor, [])

    def read(self, cursor: Cursor, now: datetime, limit: int = BATCH) -> Batch:
        """The rows behind the cursor, at most `limit` of them, and the cursor behind those.

        The first batch of a log that was waited for, or that the settings name anew (see `resume`), holds the rows
        to watch, as `start` gives them.
        """
        with self._session() as session:
            place = self._place(cursor)
            room = session.errors.room if session.errors else limit
            limit = min(limit, room, _SMALL_BATCH if session.log.selection.reads_documents else limit)
            found = session.read(place, now, limit)
            records, notes = found.records, found.notes
            if session.errors is not None:
                with session.asking():
                    records = [session.complete(record) for record in records]
                notes = (*notes, *session.errors.news)
            return Batch(records, found.set_aside, self._cursor(found.place), found.at_end, found.place.epoch, notes)

    def look_up(self, keys: Sequence[str], now: datetime) -> dict[str, Record]:
        """The rows with these keys as they are now; a key that is missing from the answer has no row any more.

        A row that cannot be mapped now is a Record with the status unmapped that says why in its details.
        """
        parts = [keys[first : first + _KEYS_AT_ONCE] for first in range(0, len(keys), _KEYS_AT_ONCE)]
        with self._session() as session, session.asking():
            return {record.key: record for part in parts for record in session.with_keys(part, now)}

    def find(self, key: str, now: datetime) -> list[Record]:
        """The rows with this key, else the newest 50 of the run with this id; oldest first."""
        with self._session() as session:
            return session.with_keys([key], now) or session.of_run(key, now)

    def newest(self, count: int, now: datetime) -> list[tuple[dict[str, Any], Record | SetAside]]:
        """The newest rows, newest first: the raw values of their mapped columns, cut, and what becomes of them."""
        with self._session() as session:
            selection = session.log.selection
            columns = {column.column: column for column in selection.columns.values()}
            names, also = list(columns), [selection.expression(column) for column in columns.values()]
            rows = session.log.newest(session.strategy.order, count, also=also)
            raw = [[shown(value, TEXT_LIMIT) for value in row[selection.width :]] for row in rows]
            mapped = [session.mapped(row[: selection.width], now) for row in rows]
            return [(dict(zip(names, values, strict=True)), one) for values, one in zip(raw, mapped, strict=True)]

    def raw_statuses(self) -> dict[str | None, tuple[int, Status]]:
        """The raw statuses among the newest 10,000 rows, how often each is there, and what it means; most first."""
        with self._session() as session:
            mapping = session.log.mapping
            rows = session.log.newest(session.strategy.order, SCANNED)
            counts = Counter(mapping.raw_status(row) for row in rows)
            return {raw: (count, mapping.status(raw)) for raw, count in counts.most_common()}

    @property
    def sees_changes(self) -> bool:
        """Whether `read` gives a row again when it has changed.

        Where it does not, a change is seen by `look_up` alone: of rows that are open, and of rows that have ended
        for as long as they are watched on (`rewatch`). Connects, if there was no read yet.
        """
        with self._session() as session:
            return session.strategy.sees_changes

    def about(self, cursor: Cursor | None, now: datetime) -> About:
        """How the log is read, and what a person should know of it. `cursor` is None before a first start."""
        with self._session() as session:
            return session.about(place_of(cursor) if cursor else None, now)

    def passed(self, cursor: Cursor, key: str) -> bool | None:
        """Whether the cursor stands behind the row with this key; None where there is no such row."""
        with self._session() as session:
            place = place_of(cursor)
            where, parameters = session.log.having("key", [key])
            rows = session.log.newest(session.strategy.order, 1, where, parameters)
            if not rows:
                return None
            return place.strategy == session.strategy.name and session.strategy.passed(session.log, place, rows[0])

    def rewound(self, cursor: Cursor, to: Target, now: datetime) -> Cursor:
        """The cursor as it is elsewhere in the log; SourceError where the log has no such place."""
        with self._session() as session:
            place = rewound(session.log, session.strategy, self.settings, place_of(cursor), to, now)
            return replace(place, of=session.of).cursor

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        session, self._open = self._open, None
        if session is not None:
            session.database.close()

    def _place(self, cursor: Cursor) -> Place:
        """The place that a cursor keeps. The last one is known still: a window by time may hold thousands of rows."""
        if self._last is None or self._last[0] != cursor:
            self._last = cursor, place_of(cursor)
        return self._last[1]

    def _cursor(self, place: Place) -> Cursor:
        if self._last is None or self._last[1] != place:
            self._last = place.cursor, place
        return self._last[0]

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """The open session, or a new one. An error closes it, so that the next call begins afresh."""
        try:
            if self._open is not None and self._open.database.replaced():
                self.close()
            if self._open is None:
                self._open = connect(self.settings, self._busy_timeout)
            yield self._open
        except SourceError as error:
            self.close()
            raise error.of(self.settings.name, self._hide) from None

    def _started(self, session: Session, place: Place, now: datetime) -> Start:
        """A start at this place. Rows that have ended are looked up where nothing else shows that they run again."""
        start = session.started(place, now)
        return start if session.strategy.sees_changes else replace(start, ended=session.ended(place, now))
