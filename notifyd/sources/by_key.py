"""By the key, on a server: a key is given before its row is committed, so keys that were skipped are waited for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice, pairwise
from statistics import median

from notifyd.model import Record
from notifyd.settings import format_duration
from notifyd.sources.batch import Found, SetAside
from notifyd.sources.database import Row, Writers
from notifyd.sources.gaps import LONGEST_STEP, MOST_RANGES, Gap, Range, bounded, holes, merged
from notifyd.sources.keyset import FIRST, STRIDE, UNNOTICED, Keyset, found_of, past_moment, reading_from, whole_keys
from notifyd.sources.mapping import Page
from notifyd.sources.marks import Marks
from notifyd.sources.place import Place
from notifyd.sources.sync_log import SyncLog

_SPARSE = (
    f"its numbers are far apart, so that each row leaves a gap: the newest {MOST_RANGES:,} are waited for, and a row "
    'that is committed later is missed; where a time is indexed, cursor = "timestamp" costs less'
)
_SAMPLED = 100
_WIDE = 1_000
_RANGES_AT_ONCE = 100
_ENDS = ("first", "last")


class ByKey(Keyset):
    """By the key, on a server: with a gap list, as keys are given before rows are committed."""

    name = "key"

    def __init__(self, order: str, column: str, marks: Marks, horizon: timedelta) -> None:
        super().__init__(order, column, marks)
        self._horizon = horizon
        self._said = False

    def read(self, log: SyncLog, place: Place, now: datetime, limit: int) -> Found:
        page = self._page(log, place, limit, now)
        marks, other = self._marks.look(log, place, whole_keys(page))
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
            return found_of(reached, page, limit)
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
        return f"{waited}{sparse}" if self._marks.tells_apart else f"{waited}{sparse}; {UNNOTICED}"

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
        numbers = sorted(row[0] for row in log.newest(self.order, STRIDE))
        skipped = holes(numbers[0] - 1 if len(numbers) == STRIDE else 0, numbers) if numbers else []
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
        end = FIRST if last is None else last
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
        moment = past_moment(log, row, now) if row else None
        return moment is not None and moment > place.newest

    def _grown_again(self, log: SyncLog, place: Place, now: datetime) -> Found:
        dated = log.selection.dated and place.newest is not None
        since = self.since(log, place.newest, now).at if dated else None
        behind = max(place.fallen or FIRST, FIRST if since is None else since)
        anew = Place(self.name, None if behind == FIRST else behind, place.epoch + 1, place.newest)
        note = f"the numbers of the log come again behind {self._column} {place.at}; {reading_from(anew)}"
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


def _given_up(count: int, column: str) -> str:
    return (
        f"{column} skips too many numbers: the oldest {count} gaps are not waited for any more, nor are others beyond "
        f"{MOST_RANGES:,}"
    )
