"""The strategy `timestamp`: rows by the time when they were last changed, else when they were written.

Each read goes back by an overlap (settings: overlap) and knows what it has seen there; see `window`. In what
form the times are kept does not matter: SQL compares them with a bound in each of the forms that a log may use.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from notifyd.model import Record
from notifyd.settings import SourceSettings, format_duration
from notifyd.sources.batch import Found, SetAside
from notifyd.sources.database import Kind, Parameters, Row
from notifyd.sources.errors import SourceError
from notifyd.sources.mapping import Page
from notifyd.sources.overlap import Overlap
from notifyd.sources.place import Begin, Place
from notifyd.sources.selection import KEY_LIMIT
from notifyd.sources.sync_log import SyncLog
from notifyd.sources.times import time_reader
from notifyd.sources.window import MOST_SEEN, Seen, Sweep, Window, fingerprint

_NEVER: Final = float("inf")  # the time of a row whose time cannot be read: it is always in the window
_EPOCH_UNITS: Final = ((1, 0, 10**11), (10**3, 10**11, 10**14), (10**6, 10**14, 10**17), (10**9, 10**17, 2**63 - 1))
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MOST_PARSED: Final = 3 * MOST_SEEN

Parsed = tuple[str, datetime | None, float, str]
"""What comes of a row while it stays as it is: its fingerprint, its time, that as a window has it, its status."""

_UNKNOWN: Final[Parsed] = ("", None, _NEVER, "")


@dataclass(frozen=True, slots=True)
class Look:
    """The rows that are new, or have another status than was seen; all that is seen now; and the times of all."""

    records: list[Record]
    set_aside: list[SetAside]
    seen: Seen
    moments: list[datetime | None]


class ByTimestamp:
    """By the column `updated_at`, else `occurred_at`, that `[sources.columns]` maps."""

    name = "timestamp"

    def __init__(self, log: SyncLog, settings: SourceSettings) -> None:
        self.sees_changes = settings.columns.updated_at is not None
        changed = log.selection.changed
        if changed is None:
            raise SourceError('cursor = "timestamp" needs a time: map columns.updated_at or occurred_at')
        self.order, self._kind = changed
        last = log.last_place(self.order) if self._kind in (Kind.ANY, Kind.TEXT) else None
        if not log.relation.kinds and isinstance(last, str):
            self._kind = Kind.TEXT  # of a query only its values say what it holds
        self._by_day = self._kind is Kind.DATE or (self._kind in (Kind.ANY, Kind.TEXT) and _is_date(last))
        self._key = f"substr({log.database.text(log.selection.expression(settings.columns.key))}, 1, {KEY_LIMIT})"
        self._overlap, self._length = Overlap(settings, self._kind, by_day=self._by_day), settings.overlap
        self._zone = settings.timezone
        self._time = time_reader(settings.timezone)
        self._utc = log.database.time(self.order, self._kind) != self.order  # shown without its zone, which is UTC
        self._said = False
        self._parsed: dict[int | None, Parsed] = {}  # by the hash of the whole row, which may be long

    def begin(self, log: SyncLog, begin: Begin, now: datetime) -> Place:
        if begin == "beginning":
            return self._place(Window())
        if begin == "now":
            return self._place(self._at_end(log, now))
        moment = (now - begin).astimezone(self._zone)
        return self.since(log, _midnight(moment) if self._by_day else moment, now)

    def since(self, log: SyncLog, moment: datetime | None, now: datetime) -> Place:
        return self._place(Window(moment, floor=moment))

    def read(self, log: SyncLog, place: Place, now: datetime, limit: int) -> Found:
        window = place.window or Window()
        begin, overlap = self._overlap.begin(window, now), self._overlap.kept(now)
        rows = self._rows(log, begin, limit, window.sweep)
        look = self._look(log, rows, begin, window, now)
        peak = max((m for m in (*look.moments, window.sweep and window.sweep.peak) if m and m <= now), default=None)
        at_end = len(rows) < limit
        if at_end:
            after = window.ended(look.seen, peak, overlap)
        else:
            after = window.paused(look.seen, self._overlap.after(rows[-1], peak), overlap)
        reached = self._place(after, place.epoch)
        whole = at_end and self._overlap.looked(now)
        return Found(look.records, look.set_aside, reached, at_end, self.said_of(after), whole)

    def said_of(self, window: Window) -> tuple[str, ...]:
        """What to say, once, of a window that holds fewer rows than lie in the overlap."""
        if not window.crowded or self._said:
            return ()
        self._said = True
        overlap = format_duration(self._length)
        said = (
            f"more than {MOST_SEEN:,} rows lie within the overlap of {overlap}: a row that is committed after them and "
            'dated before them is missed; a shorter `overlap` or cursor = "key" avoids that'
        )
        return (said,)

    def open_rows(self, log: SyncLog, place: Place, now: datetime) -> list[Record]:
        return log.open_rows(self.order, None, now)

    def about(self, log: SyncLog) -> str:
        return (
            f"by time, {self.order.removeprefix('t.')}: a row that is committed more than "
            f"{format_duration(self._length)} after its own time is missed"
        )

    def before(self, log: SyncLog, row: Row, now: datetime) -> Place:
        moment = self._moment(row[0])
        if moment is None:
            raise SourceError(f"the row {self._key_of(row)} has no time that could be read, and it is read by time")
        return self.since(log, moment, now)

    def holds(self, log: SyncLog, place: Place, now: datetime) -> bool:
        window = place.window or Window()
        rows = self._rows(log, window.begin(self._overlap.at(now), now), MOST_SEEN)
        return any(fingerprint(self._key_of(row)) in window.seen for row in rows)

    def passed(self, log: SyncLog, place: Place, row: Row) -> bool:
        moment, window = self._moment(row[0]), place.window
        return bool(window and window.high and moment and moment <= window.high)

    def _place(self, window: Window, epoch: int = 0) -> Place:
        return Place(self.name, epoch=epoch, newest=window.high, window=window)

    def _at_end(self, log: SyncLog, now: datetime) -> Window:
        """All that is in the window now counts as seen."""
        overlap = self._overlap.at(now)
        rows = self._rows(log, now - overlap, MOST_SEEN, direction="DESC")
        return Window(now).ended(self._look(log, rows, None, Window(), now).seen, None, overlap)

    def _rows(
        self,
        log: SyncLog,
        begin: datetime | None,
        limit: int,
        sweep: Sweep | None = None,
        direction: str = "",
        also: Sequence[str] = (),
    ) -> list[Row]:
        """The rows dated `begin` or later and behind the sweep, in the order that the database sorts by.

        One SELECT for each form of a time, so that each is one range of the index. Behind each row stand the values
        of the SQL in `also`.
        """
        conditions, parameters = self._from(begin)
        if sweep is not None:
            behind = f"{self.order} >= :after AND ({self.order} > :after OR {self._key} > :key)"
            conditions = [f"{condition} AND {behind}" for condition in conditions]
            parameters = {**parameters, "after": sweep.after, "key": sweep.key}
        values = ", ".join((self.order, log.selection.sql, *also))
        selects = [f"SELECT {values} FROM {log.relation.sql} WHERE {condition}" for condition in conditions]
        sql = f"{' UNION ALL '.join(selects)} ORDER BY 1 {direction}, 2 {direction} LIMIT :limit"
        return log.database.read(sql, {**parameters, "limit": limit}, list)

    def _look(self, log: SyncLog, rows: Sequence[Row], begin: datetime | None, window: Window, now: datetime) -> Look:
        """What is new in these rows, and all that is seen now. A row that is as it was is not parsed again."""
        moments, seen, others = list[datetime | None](), dict(window.fresh), list[Row]()
        for row in rows:
            mark, moment, at, status = self._parsed.get(_hash(row), _UNKNOWN)
            if window.knows(mark, status):
                seen[mark] = (at, status)
                moments.append(moment)
            else:
                others.append(row)
        page = log.mapping.page(others, now) if others else Page([], [], None)
        statuses = {record.key: record.status.value for record in page.records}
        new = set[str]()
        for row in others:
            key, moment = self._key_of(row), self._moment(row[0])
            moments.append(moment)
            if moment and begin and moment < begin:
                continue  # SQL compares to the second, and in several forms at once
            mark, at, status = fingerprint(key), moment.timestamp() if moment else _NEVER, statuses.get(key, "")
            if not window.knows(mark, status):
                new.add(key)
            seen[mark] = (at, status)
            self._remember(row, (mark, moment, at, status))
        records = [record for record in page.records if record.key in new]
        return Look(records, [aside for aside in page.set_aside if aside.key in new], seen, moments)

    def _remember(self, row: Row, parsed: Parsed) -> None:
        if len(self._parsed) >= _MOST_PARSED:
            self._parsed.clear()
        if (marked := _hash(row)) is not None:
            self._parsed[marked] = parsed

    def _key_of(self, row: Row) -> str:
        """As a Record or a SetAside names it."""
        return str(row[1])[:KEY_LIMIT] if row[1] else f"row {row[0]}"

    def _moment(self, raw: Any) -> datetime | None:
        return self._time(f"{raw}Z" if self._utc and isinstance(raw, str) else raw)

    def _from(self, begin: datetime | None) -> tuple[list[str], Parameters]:
        """The ranges of values, one for each form that a time may have, that are `begin` or later."""
        if begin is None:
            return [f"{self.order} IS NOT NULL"], {}
        utc, local = begin.isoformat(sep=" ")[:19], begin.astimezone(self._zone).isoformat(sep=" ")[:19]
        if self._kind is Kind.INSTANT:
            return [f"{self.order} >= :begin"], {"begin": utc if self._utc else f"{utc}+00:00"}
        if self._kind in (Kind.TIME, Kind.DATE):
            return [f"{self.order} >= :begin"], {"begin": local}
        conditions, parameters = list[str](), dict[str, Any]()
        if self._kind in (Kind.ANY, Kind.NUMBER):
            for n, (per_second, least, most) in enumerate(_EPOCH_UNITS):
                conditions.append(f"{self.order} >= :unit{n} AND {self.order} < {most}")
                parameters[f"unit{n}"] = max(int(begin.timestamp()) * per_second, least)
        if self._kind is not Kind.NUMBER:
            early = min(utc, local)
            spaced = early[:10] if self._by_day else early
            texts = {"epoch": (str(int(begin.timestamp())), "2"), "spaced": (spaced, f"{early[:10]}T")}
            for name, (least_text, most_text) in texts.items():
                conditions.append(f"{self.order} >= :{name} AND {self.order} < :{name}_end")
                parameters |= {name: least_text, f"{name}_end": most_text}
            conditions.append(f"{self.order} >= :joined")
            parameters["joined"] = early.replace(" ", "T")
        return conditions, parameters


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and _DATE.fullmatch(value) is not None


def _midnight(local: datetime) -> datetime:
    return local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


def _hash(row: Row) -> int | None:
    """The hash of a row; None where a value has none, such as a list."""
    try:
        return hash(row)
    except TypeError:
        return None
