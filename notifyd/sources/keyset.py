"""The strategies `key` and `rowid`: rows in the order of a number that grows.

key     by the key, where that is a whole number that the log gives in growing order. Keys that were
        skipped are kept in a gap list (see `gaps`) until their rows appear, or never can
rowid   by the number that the database itself gives each row (SQLite), or that a query selects as `rowid`.
        It is no identity, so the keys of the last few rows are an anchor, checked at each read
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice, pairwise
from statistics import median
from typing import Any, Final

from notifyd.model import Record
from notifyd.settings import format_duration
from notifyd.sources.batch import Found, SetAside
from notifyd.sources.database import Row, Writers
from notifyd.sources.errors import SourceError
from notifyd.sources.gaps import LONGEST_STEP, MOST_RANGES, Gap, Range, bounded, holes, merged
from notifyd.sources.mapping import Page, moment_of
from notifyd.sources.marks import MARKED, Marks
from notifyd.sources.place import Anchor, Begin, Place
from notifyd.sources.sync_log import SyncLog

_FIRST = -(2**63)
_LAST = 2**63 - 1
_STRIDE = 1_000
_UNNOTICED = (
    "if the log is emptied and filled again as far, that is not noticed: map columns.run_id, occurred_at, started_at "
    "or finished_at"
)
_SPARSE = (
    f"its numbers are far apart, so that each row leaves a gap: the newest {MOST_RANGES:,} are waited for, and a row "
    'that is committed later is missed; where a time is indexed, cursor = "timestamp" costs less'
)
_SAMPLED = 100
_WIDE = 1_000
_RANGES_AT_ONCE = 100
_ANCHORED = 8
_OVERLAP = timedelta(days=3)  # of a log that is found again by time alone: its writer's clock may have been set back

MEND: Final = (
    'map a whole number that grows, map a time and set cursor = "timestamp", or let the query or view select the '
    "table's rowid too (SELECT rowid, …)"
)


class Keyset:
    """Rows in the order of a number that only grows: `WHERE number > :at ORDER BY number LIMIT …`.

    A log whose last number lies before the cursor was emptied, restored, or lost its newest rows. An
    empty one is read from its beginning; another from the rows that are dated after what was read, or,
    where rows have no dates, from its end. Either way a new epoch begins, as its numbers come again.
    """

    name: str
    sees_changes = False

    def __init__(self, order: str, column: str, marks: Marks) -> None:
        self.order = order
        self._column = column
        self._marks = marks

    def begin(self, log: SyncLog, begin: Begin, now: datetime) -> Place:
        if begin == "beginning":
            return Place(self.name)
        if begin == "now":
            return self._at_end(log, now)
        if not log.selection.dated:
            raise SourceError('start is a time, but no time is mapped: map columns.occurred_at, or use start = "now"')
        return self.since(log, now - begin, now)

    def since(self, log: SyncLog, moment: datetime | None, now: datetime) -> Place:
        if moment is None or not log.selection.dated:
            return Place(self.name)
        last, first, at = self._last(log), None, _LAST
        while rows := log.newest(self.order, _STRIDE, f"{self.order} <= :at", {"at": at}):
            moments = [_moment(log, row, now) for row in rows]
            within = [row[0] for row, dated in zip(rows, moments, strict=True) if dated and dated >= moment]
            if within:
                first = within[-1]
            elif any(moments):
                return Place(self.name, last if first is None else first - 1)
            at = rows[-1][0] - 1
        return Place(self.name, None if first is None else first - 1)

    def open_rows(self, log: SyncLog, place: Place, now: datetime) -> list[Record]:
        return [] if place.at is None else log.open_rows(self.order, place.at, now)

    def before(self, log: SyncLog, row: Row, now: datetime) -> Place:
        return Place(self.name, self._whole(row[0]) - 1)

    def holds(self, log: SyncLog, place: Place, now: datetime) -> bool:
        """Its number alone says little, as most logs have a row 4711: it has to be dated as it was, too."""
        row = next(iter(log.newest(self.order, 1, f"{self.order} = :at", {"at": place.at})), None)
        if row is None:
            return False
        record = log.mapping.record_or_aside(row, now)
        return not log.selection.dated or (isinstance(record, Record) and place.newest in _moments(record))

    def passed(self, log: SyncLog, place: Place, row: Row) -> bool:
        return place.at is not None and bool(row[0] <= place.at)

    def _page(self, log: SyncLog, place: Place, limit: int, now: datetime) -> Page:
        at = _FIRST if place.at is None else place.at
        return log.page(self.order, f"{self.order} > :at", {"at": at}, limit, now)

    def _reached(self, place: Place, page: Page, now: datetime) -> Place:
        if page.rows == 0:
            return place
        return replace(place, at=self._whole(page.place), newest=_newest(page, now) or place.newest, fallen=None)

    def _at_end(self, log: SyncLog, now: datetime) -> Place:
        return Place(self.name, self._last(log), newest=now)

    def _restarted(self, log: SyncLog, place: Place, now: datetime) -> Found | None:
        """What to do where the log ends before what was read of it; None where it does not."""
        last = self._last(log)
        if place.at is None or (last is not None and last >= place.at):
            return None
        anew = self._anew(log, last, place, now)
        note = f"the log now ends before what was read of it: {self._column} {place.at}; {_reading_from(anew)}"
        return Found([], [], anew, at_end=last == anew.at, notes=(note,))

    def _anew(self, log: SyncLog, last: int | None, place: Place, now: datetime) -> Place:
        if last is None or (log.selection.dated and place.newest):
            anew = self.since(log, place.newest, now)
        else:
            anew = Place(self.name, last)
        return replace(anew, epoch=place.epoch + 1, newest=place.newest)

    def _filled_again(self, log: SyncLog, place: Place, other: int, now: datetime) -> Found:
        """What to do where the last rows that were read are others now: `other` is the number of the first of those."""
        anew = self.since(log, place.newest, now)
        if anew.at is not None:
            anew = replace(anew, at=min(anew.at, other - 1))
        anew = replace(anew, epoch=place.epoch + 1, newest=place.newest)
        note = (
            f"the last rows that were read are others, or were all run again: {self._column} {other} to {place.at}; "
            f"{_reading_from(anew)}"
        )
        return Found([], [], anew, at_end=False, notes=(note,))

    def _last(self, log: SyncLog) -> int | None:
        last = log.last_place(self.order)
        return None if last is None else self._whole(last)

    def _whole(self, number: Any) -> int:
        if not isinstance(number, int):
            held = "text" if isinstance(number, str) else "other values"
            raise SourceError(f"{self._column} orders the log, but it holds {held} besides whole numbers: {MEND}")
        return number


class ByKey(Keyset):
    """By the key, on a server: with a gap list, as keys are given before rows are committed."""

    name = "key"

    def __init__(self, order: str, column: str, marks: Marks, horizon: timedelta) -> None:
        super().__init__(order, column, marks)
        self._horizon = horizon
        self._said = False

    def read(self, log: SyncLog, place: Place, now: datetime, limit: int) -> Found:
        page = self._page(log, place, limit, now)
        marks, other = self._marks.look(log, place, _whole_keys(page))
        if other is not None:
            return self._filled_again(log, place, other, now)
        place = replace(place, marks=marks)
        if page.rows == 0:
            place, restarted = self._checked(log, place, now)
            if restarted:
                return restarted
        reached = self._reached(place, page, now)
        skipped = self._skipped(log, place, page)
        if not place.gaps and not skipped:
            return _found(reached, page, limit)
        # Who writes is asked after the rows were read and before the gaps are looked at, each in a snapshot of
        # its own: a writer that is not there any more has ended before the look, which then sees its rows.
        writers = _writers(log)
        gaps = self._aged(place, now)
        if skipped:
            gaps.append(Gap(tuple(skipped), writers.names))
        late = self._look(log, gaps, writers, limit - page.rows, now)
        if page.rows == 0 and not late.looked and not _set_back(place, now):
            return Found([], [], place, at_end=True)
        return self._with_late(reached, page, late, limit, now)

    def about(self, log: SyncLog) -> str:
        waited = f"by {self._column}: a number that was skipped is waited for {self._until(_writers(log))}"
        sparse = f"; {_SPARSE}" if self._is_sparse(log) else ""
        return f"{waited}{sparse}" if self._marks.tells_apart else f"{waited}{sparse}; {_UNNOTICED}"

    def _is_sparse(self, log: SyncLog) -> bool:
        """Whether most rows leave a wide gap, as where a key is made of a time."""
        numbers = [row[0] for row in log.newest(self.order, _SAMPLED)]
        return len(numbers) == _SAMPLED and median(one - other for one, other in pairwise(numbers)) > _WIDE

    def _until(self, writers: Writers) -> str:
        if writers.exact:
            return "until the transactions that took it end"
        horizon = format_duration(self._horizon)
        if writers.hidden:
            return f"during {horizon}, as who may have taken it cannot be seen: {writers.hidden}"
        return f"during {horizon}, and for as long as a transaction is open that may have taken it"

    def passed(self, log: SyncLog, place: Place, row: Row) -> bool:
        return super().passed(log, place, row) and not _missing(place, row[0])

    def _at_end(self, log: SyncLog, now: datetime) -> Place:
        """The end of the log; rows that are being written now come behind it, wherever their keys stand."""
        end = super()._at_end(log, now)
        if end.at is None:
            return end
        numbers = sorted(row[0] for row in log.newest(self.order, _STRIDE))
        skipped = holes(numbers[0] - 1 if len(numbers) == _STRIDE else 0, numbers) if numbers else []
        end = replace(end, at=numbers[-1] if numbers else None)
        return replace(end, gaps=(Gap(tuple(skipped), _writers(log).names),), read_at=now) if skipped else end

    def _checked(self, log: SyncLog, place: Place, now: datetime) -> tuple[Place, Found | None]:
        """The place with what is known of the log's end, and what to do if its numbers come again.

        A log that ends before what was read may only have lost its newest rows, as a sequence does not go back.
        It was emptied or restored if it then grows there.
        """
        last = self._last(log)
        if place.at is None or (last is not None and last >= place.at):
            return replace(place, fallen=None), None
        end = _FIRST if last is None else last
        if self._is_newer(log, place, end, now):
            return place, self._grown_again(log, replace(place, fallen=None), now)
        if place.fallen is None or end <= place.fallen or _missing(place, end):
            return replace(place, fallen=end), None
        return place, self._grown_again(log, place, now)

    def _is_newer(self, log: SyncLog, place: Place, end: int, now: datetime) -> bool:
        """Whether the log ends before all the rows that are marked, with a row that came after them."""
        if place.newest is None or not place.marks or end >= place.marks[0][0]:
            return False
        row = next(iter(log.newest(self.order, 1)), None)
        moment = _moment(log, row, now) if row else None
        return moment is not None and moment > place.newest

    def _grown_again(self, log: SyncLog, place: Place, now: datetime) -> Found:
        dated = log.selection.dated and place.newest is not None
        since = self.since(log, place.newest, now).at if dated else None
        behind = max(place.fallen or _FIRST, _FIRST if since is None else since)
        anew = Place(self.name, None if behind == _FIRST else behind, place.epoch + 1, place.newest)
        note = f"the numbers of the log come again behind {self._column} {place.at}; {_reading_from(anew)}"
        return Found([], [], anew, at_end=False, notes=(note,))

    def _skipped(self, log: SyncLog, place: Place, page: Page) -> list[Range]:
        """The keys that are missing before and between the rows of a page."""
        if page.rows == 0:
            return []
        at = min(0, self._whole(page.place)) if place.at is None else place.at
        return holes(at, _numbers(page))

    def _aged(self, place: Place, now: datetime) -> list[Gap]:
        seconds = (now - place.read_at).total_seconds() if place.read_at else 0.0
        return [gap.older(min(max(seconds, 0.0), LONGEST_STEP)) for gap in place.gaps]

    def _look(self, log: SyncLog, gaps: Sequence[Gap], writers: Writers, budget: int, now: datetime) -> _Late:
        """Look into the gaps that are due, for as many rows as the budget allows."""
        late = _Late()
        for gap in gaps:
            if not gap.due(writers, self._horizon):
                late.left.append(gap)
            elif budget <= len(late.numbers):
                late.left.append(gap)
                late.complete = False
            else:
                self._look_into(log, gap, writers, budget, late, now)
        return late

    def _look_into(self, log: SyncLog, gap: Gap, writers: Writers, budget: int, late: _Late, now: datetime) -> None:
        late.looked = True
        found, complete = list[int](), True
        for where, parameters in self._conditions(gap.ranges):
            room = budget - len(late.numbers)
            page = log.page(self.order, where, parameters, room, now) if room else Page([], [], None)
            found += late.take(page)
            if page.rows == room:
                complete = False
                break
        left = gap.after(found, writers)
        if not complete:
            late.complete = False
            late.left.append(replace(left, looked=None))
        elif left.ranges and not gap.settles(writers, self._horizon):
            late.left.append(left)

    def _conditions(self, ranges: Sequence[Range]) -> Iterator[tuple[str, dict[str, int]]]:
        rest = iter(ranges)
        while some := list(islice(rest, _RANGES_AT_ONCE)):
            parts = [f"{self.order} BETWEEN :first{n} AND :last{n}" for n in range(len(some))]
            parameters = {f"{end}{n}": key for n, ends in enumerate(some) for end, key in zip(_ENDS, ends, strict=True)}
            yield f"({' OR '.join(parts)})", parameters

    def _with_late(self, reached: Place, page: Page, late: _Late, limit: int, now: datetime) -> Found:
        gaps, given_up = bounded(merged(late.left))
        place = replace(reached, gaps=gaps, read_at=now if gaps else None)
        notes = (_given_up(given_up, self._column),) if given_up and not self._said else ()
        self._said = self._said or bool(given_up)
        at_end = page.rows < limit and late.complete
        return Found([*late.records, *page.records], [*late.set_aside, *page.set_aside], place, at_end, notes)


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
        marks, other = self._marks.look(log, replace(held, marks=() if note else held.marks), _whole_keys(page))
        if other is not None:
            return self._filled_again(log, held, other, now)
        reached = replace(self._reached(held, page, now), marks=marks)
        if page.rows:
            reached = replace(reached, anchor=self._anchored(log, reached.at))
        found = _found(reached, page, limit)
        return replace(found, notes=(note,)) if note else found

    def about(self, log: SyncLog) -> str:
        held = f"by {self._column}, held by the last rows that were read" if self._identity else f"by {self._column}"
        return held if self._by_key or self._marks.tells_apart else f"{held}; {_UNNOTICED}"

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
        note = f"the last rows that were read are gone or others: {self._column} {place.at}; {_reading_from(held)}"
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
            return moved, f"the rows have other numbers now: {self._column} {place.at} is {at}; {_reading_from(moved)}"
        moment = place.newest - _OVERLAP if place.newest and self._by_key else place.newest
        anew = self.since(log, moment, now)
        if anew.at is not None and other is not None:
            anew = replace(anew, at=min(anew.at, other - 1))
        anew = replace(anew, epoch=place.epoch + (not self._by_key), newest=place.newest)
        return anew, f"the log is another one than was read, or all of it was replaced; {_reading_from(anew)}"

    def _places(self, log: SyncLog, place: Place) -> list[int]:
        """Where the rows of the anchor stand now."""
        where, parameters = log.having("key", [key for _, key in place.anchor])
        found = {row[1]: row[0] for row in log.newest(self.order, _STRIDE, where, parameters)}
        return [found[key] for _, key in place.anchor if key in found]

    def _identities(self, log: SyncLog, condition: str, parameters: dict[str, int]) -> list[Row]:
        sql = f"SELECT {self.order}, {self._identity} FROM {log.relation.sql} WHERE {condition}"
        return log.database.read(sql, parameters, list)


_ENDS = ("first", "last")


@dataclass(slots=True)
class _Late:
    """What was found in gaps, and what is left of them. `complete` is false where more may be found at once."""

    records: list[Record] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    left: list[Gap] = field(default_factory=list)
    looked: bool = False
    complete: bool = True

    def take(self, page: Page) -> list[int]:
        """Add the rows of a page; their keys."""
        self.records += page.records
        self.set_aside += page.set_aside
        numbers = _numbers(page)
        self.numbers += numbers
        return numbers


def _writers(log: SyncLog) -> Writers:
    return log.relation.writers() if log.relation.writers else Writers(frozenset(), exact=True)


def _missing(place: Place, number: int) -> bool:
    """Whether the key is in an open gap."""
    return any(first <= number <= last for gap in place.gaps for first, last in gap.ranges)


def _set_back(place: Place, now: datetime) -> bool:
    return place.read_at is not None and now < place.read_at


def _numbers(page: Page) -> list[int]:
    return sorted({int(record.key) for record in page.records} | {int(aside.key) for aside in page.set_aside})


def _whole_keys(page: Page) -> list[int]:
    """The last of the keys that are numbers: of a text, or of a row that could not be mapped, there is no mark."""
    keys = [record.key for record in page.records[-MARKED:]]
    return [int(key) for key in keys if key.isascii() and key.removeprefix("-").isdigit()]


def _found(place: Place, page: Page, limit: int) -> Found:
    return Found(page.records, page.set_aside, place, page.rows < limit)


def _moment(log: SyncLog, row: Row, now: datetime) -> datetime | None:
    """When the row says that it happened; None where it says nothing, or a time that is still to come."""
    record = log.mapping.record_or_aside(row, now)
    moment = moment_of(record) if isinstance(record, Record) else None
    return moment if moment is not None and moment <= now else None


def _moments(record: Record) -> tuple[datetime | None, ...]:
    """What may have been its newest time: a row that was running has got an end since."""
    return record.finished_at, record.occurred_at, record.started_at


def _newest(page: Page, now: datetime) -> datetime | None:
    moment = moment_of(page.records[-1]) if page.records else None
    return min(moment, now) if moment else None


def _reading_from(place: Place) -> str:
    return "it is read from its beginning" if place.at is None else f"it is read on behind {place.at}"


def _given_up(count: int, column: str) -> str:
    return (
        f"{column} skips too many numbers: the oldest {count} gaps are not waited for any more, nor are others beyond "
        f"{MOST_RANGES:,}"
    )
