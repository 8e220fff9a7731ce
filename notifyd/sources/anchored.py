"""By a number in a database whose writers exclude each other (SQLite), held in its place by the last rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from notifyd.sources.batch import Found
from notifyd.sources.database import Row
from notifyd.sources.keyset import STRIDE, UNNOTICED, Keyset, found_of, reading_from, whole_keys
from notifyd.sources.marks import Marks
from notifyd.sources.place import Anchor, Place
from notifyd.sources.sync_log import SyncLog

_ANCHORED = 8
_OVERLAP = timedelta(days=3)  # of a log that is found again by time alone: its writer's clock may have been set back


class Anchored(Keyset):
    """By a number in a database whose writers exclude each other, held in its place by the last rows.

    Its numbers are no identity: SQLite gives the newest one again once its row is deleted, and REPLACE, VACUUM
    or a restored dump move rows. `identity` is SQL for what a row keeps through all that: its key, where the
    number is another; else its run and when it was written, if they are mapped.
    """

    def __init__(self, name: str, order: str, column: str, identity: str | None, marks: Marks, *, by_key: bool) -> None:
        super().__init__(order, column, marks)
        self.name = name  # a cursor of one is none of the other
        self._identity = identity
        self._by_key = by_key

    def read(self, log: SyncLog, place: Place, now: datetime, limit: int) -> Found:
        held, note = self._held(log, place, now)
        page = self._page(log, held, limit, now)
        if page.rows == 0 and not note and (restarted := self._restarted(log, held, now)):
            return restarted
        marks, other = self._marks.look(log, replace(held, marks=() if note else held.marks), whole_keys(page))
        if other is not None:
            return self._filled_again(log, held, other, now)
        reached = replace(self._reached(held, page, now), marks=marks)
        if page.rows:
            reached = replace(reached, anchor=self._anchored(log, reached.at))
        found = found_of(reached, page, limit)
        return replace(found, notes=(note,)) if note else found

    def about(self, log: SyncLog) -> str:
        held = f"by {self._column}, held by the last rows that were read" if self._identity else f"by {self._column}"
        return held if self._by_key or self._marks.tells_apart else f"{held}; {UNNOTICED}"

    def holds(self, log: SyncLog, place: Place, now: datetime) -> bool:
        """Wherever the rows of the anchor stand now: `read` finds them."""
        if not place.anchor:
            return super().holds(log, place, now)
        numbers = {f"at{n}": at for n, (at, _) in enumerate(place.anchor)}
        condition = f"{self.order} IN ({', '.join(f':{name}' for name in numbers)})"
        in_place = any(row in place.anchor for row in map(tuple, self._identities(log, condition, numbers)))
        return in_place or (self._by_key and bool(self._places(log, place)))

    def _at_end(self, log: SyncLog, now: datetime) -> Place:
        end = super()._at_end(log, now)
        return replace(end, anchor=self._anchored(log, end.at))

    def _anchored(self, log: SyncLog, at: int | None) -> Anchor:
        """The last rows up to a place, as far as they have an identity."""
        if self._identity is None or at is None:
            return ()
        rows = self._identities(log, f"{self.order} <= :at ORDER BY {self.order} DESC LIMIT {_ANCHORED}", {"at": at})
        return tuple((number, identity) for number, identity in reversed(rows) if identity)

    def _held(self, log: SyncLog, place: Place, now: datetime) -> tuple[Place, str]:
        """The place as it is in the log now, and what to say if it has moved."""
        if not place.anchor:
            return place, ""
        names = {f"at{n}": at for n, (at, _) in enumerate(place.anchor)}
        condition = f"{self.order} IN ({', '.join(f':{name}' for name in names)})"
        there: dict[int, str] = dict(self._identities(log, condition, names))
        in_place = tuple(one for one in place.anchor if there.get(one[0]) == one[1])
        if place.anchor[-1] in in_place or not (there or self._ends_before(log, place)):
            return place, ""  # where all were purged, that says nothing of the others
        if in_place:
            # What stood behind was deleted or replaced; what stands there now was not read.
            return self._behind(place, replace(place, at=in_place[-1][0], anchor=in_place))
        return self._found_again(log, place, min(there, default=None), now)

    def _ends_before(self, log: SyncLog, place: Place) -> bool:
        last = self._last(log)
        return last is not None and place.at is not None and last < place.at

    def _behind(self, place: Place, held: Place) -> tuple[Place, str]:
        if self._by_key:
            return held, ""
        note = f"the last rows that were read are gone or others: {self._column} {place.at}; {reading_from(held)}"
        return replace(held, epoch=place.epoch + 1), note

    def _found_again(self, log: SyncLog, place: Place, other: int | None, now: datetime) -> tuple[Place, str]:
        """Its rows have other numbers now, as after VACUUM: found again by key; or it is another log.

        `other` is the first number of the anchor that another row has now. That row was not read, whatever its date:
        it may come from a clock that was set back.
        """
        places = self._places(log, place) if self._by_key else []
        if places:
            at = places[-1] if places == sorted(places) else min(places)
            moved = replace(place, at=at, anchor=self._anchored(log, at))
            return moved, f"the rows have other numbers now: {self._column} {place.at} is {at}; {reading_from(moved)}"
        moment = place.newest - _OVERLAP if place.newest and self._by_key else place.newest
        anew = self.since(log, moment, now)
        if anew.at is not None and other is not None:
            anew = replace(anew, at=min(anew.at, other - 1))
        anew = replace(anew, epoch=place.epoch + (not self._by_key), newest=place.newest)
        return anew, f"the log is another one than was read, or all of it was replaced; {reading_from(anew)}"

    def _places(self, log: SyncLog, place: Place) -> list[int]:
        """Where the rows of the anchor stand now."""
        where, parameters = log.having("key", [key for _, key in place.anchor])
        found = {row[1]: row[0] for row in log.newest(self.order, STRIDE, where, parameters)}
        return [found[key] for _, key in place.anchor if key in found]

    def _identities(self, log: SyncLog, condition: str, parameters: dict[str, int]) -> list[Row]:
        sql = f"SELECT {self.order}, {self._identity} FROM {log.relation.sql} WHERE {condition}"
        return log.database.read(sql, parameters, list)
