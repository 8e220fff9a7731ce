"""The gap list: keys that were skipped, and may still appear.

A database gives keys before it commits rows: a reader can see key 2, and key 1 appear later, when a slower
transaction ends; the keys of one that was rolled back never appear. So every key that was skipped is kept, as
ranges, together with the transactions that might still bring it. When all of those are gone, one more look
in a new snapshot decides: a row that is not there then never comes, and the gap is closed.

Where the writers cannot be named with certainty (see `Writers.exact`), a gap stays open for a horizon as well.
What counts is the time that was spent watching, not what a clock says: no jump of it closes a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from notifyd.sources.database import Writers

Range = tuple[int, int]
"""The first and the last key of a run of keys, both of them missing."""

MOST_RANGES: Final = 20_000
"""The most ranges that a cursor remembers; more, and the oldest are given up."""

LONGEST_STEP: Final = 60.0
"""The most seconds that count as watched between two reads: longer, and nobody was watching, or a clock jumped."""

SETTLING: Final = 0.5
"""Seconds within which a writer that has just taken a key comes to be listed, where the list is not exact."""

MERGED_RANGES: Final = 100
"""The most ranges of gaps that are taken together: so each is held up by a bounded time."""

_MERGED_AGE: Final = 10.0  # seconds from which on a gap is taken together with others
_MERGED_APART: Final = 2.0  # the most seconds between the ages of two that are
_RARELY: Final = 30.0  # seconds between two looks at an old gap
_EVER_MORE_RARELY: Final = 0.1  # of a gap's age


@dataclass(frozen=True, slots=True)
class Gap:
    """The keys that one read skipped. `age` and `looked` are seconds of watching: now, and at the last look.

    `named` is whether all of the writers are known that there were when it was found, where they are not at once.
    """

    ranges: tuple[Range, ...]
    writers: frozenset[str]
    age: float = 0.0
    looked: float | None = None
    named: bool = False

    def older(self, seconds: float) -> Gap:
        """The gap after so much more watching."""
        return replace(self, age=self.age + seconds)

    def settles(self, writers: Writers, horizon: timedelta) -> bool:
        """Whether nobody is left who could still bring a row, so that one more look decides."""
        if self.writers & writers.names:
            return False
        return writers.exact or (self.named and self.age >= horizon.total_seconds())

    def due(self, writers: Writers, horizon: timedelta) -> bool:
        """Whether a look may find something: a writer ended, or, where writers say little, time went by."""
        if self.looked is None or not self.writers <= writers.names or self.settles(writers, horizon):
            return True
        return not writers.exact and self.age - self.looked >= min(self.age * _EVER_MORE_RARELY, _RARELY)

    def after(self, found: Iterable[int], writers: Writers) -> Gap:
        """The gap without the keys that were found, and without the writers that are gone."""
        ranges = tuple(without(self.ranges, sorted(found)))
        if writers.exact or self.named:
            return replace(self, ranges=ranges, writers=self.writers & writers.names, looked=self.age)
        named = writers.complete and self.age >= SETTLING
        return replace(self, ranges=ranges, writers=self.writers | writers.names, looked=self.age, named=named)

    def as_json(self) -> list[Any]:
        """The gap in a cursor."""
        return [_packed(self.ranges), sorted(self.writers), round(self.age, 3), self.looked, self.named]


def gap_of(kept: Sequence[Any]) -> Gap:
    """The gap that a cursor keeps. Raises ValueError or TypeError where it is none."""
    ranges, writers, age, looked, named = kept
    return Gap(
        tuple(_unpacked(ranges)),
        frozenset(map(str, writers)),
        float(age),
        None if looked is None else float(looked),
        bool(named),
    )


def _packed(ranges: Iterable[Range]) -> str:
    """Ranges as text, each as its distance from the one before and its length: "1 4.2" is 1, and 5 to 7."""
    parts, at = [], 0
    for first, last in ranges:
        parts.append(f"{first - at:x}.{last - first:x}" if last > first else f"{first - at:x}")
        at = last
    return " ".join(parts)


def _unpacked(text: str) -> Iterator[Range]:
    at = 0
    for part in text.split():
        distance, _, length = part.partition(".")
        first = at + int(distance, 16)
        at = first + int(length or "0", 16)
        yield first, at


def holes(at: int, numbers: Sequence[int]) -> list[Range]:
    """The keys behind `at` that are missing before and between these, which grow."""
    found = []
    for number in numbers:
        if number > at + 1:
            found.append((at + 1, number - 1))
        at = number
    return found


def without(ranges: Iterable[Range], numbers: Sequence[int]) -> list[Range]:
    """The ranges without these numbers; both grow."""
    left, taken = [], iter(numbers)
    number = next(taken, None)
    for first, last in ranges:
        while number is not None and number <= last:
            if number > first:
                left.append((first, number - 1))
            first = max(first, number + 1)
            number = next(taken, None)
        if first <= last:
            left.append((first, last))
    return left


def merged(gaps: Iterable[Gap]) -> list[Gap]:
    """The gaps, in their order, with neighbours of nearly one age as one: there may be thousands with a range each.

    Such a gap is as old as its youngest part, and was looked at as long ago as any: it is waited for longer, not less.
    """
    found = list[Gap]()
    for gap in gaps:
        if found and _go_together(found[-1], gap):
            one = found.pop()
            age, unseen = min(one.age, gap.age), max(_since_look(one), _since_look(gap))
            gap = replace(gap, ranges=(*one.ranges, *gap.ranges), age=age, looked=age - unseen)
        found.append(gap)
    return found


def _go_together(one: Gap, other: Gap) -> bool:
    if one.writers != other.writers or one.named != other.named or one.ranges[-1] >= other.ranges[0]:
        return False
    if one.looked is None or other.looked is None or min(one.age, other.age) < _MERGED_AGE:
        return False
    return abs(one.age - other.age) <= _MERGED_APART and len(one.ranges) + len(other.ranges) <= MERGED_RANGES


def _since_look(gap: Gap) -> float:
    return gap.age - (gap.looked or 0.0)


def bounded(gaps: Sequence[Gap]) -> tuple[tuple[Gap, ...], int]:
    """The newest gaps that a cursor has room for, and how many ranges were given up."""
    room, kept = MOST_RANGES, list[Gap]()
    for gap in reversed(gaps):
        ranges = gap.ranges[-room:] if room else ()
        room -= len(ranges)
        if ranges:
            kept.append(replace(gap, ranges=ranges))
    given_up = sum(len(gap.ranges) for gap in gaps) - sum(len(gap.ranges) for gap in kept)
    return tuple(reversed(kept)), given_up
