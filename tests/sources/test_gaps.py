"""The gap list by itself, and the placeholders of drivers that format."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.sources.database import Writers
from notifyd.sources.gaps import MERGED_RANGES, MOST_RANGES, Gap, bounded, gap_of, holes, merged, without
from notifyd.sources.placeholders import formatted

NUMBERS = st.sets(st.integers(1, 60)).map(sorted)
NOBODY = Writers(frozenset(), exact=True)
HORIZON = timedelta(minutes=10)


def _numbers(ranges: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(NUMBERS)
def test_holes_are_what_is_missing(numbers: list[int]) -> None:
    assert _numbers(holes(0, numbers)) == set(range(1, max(numbers, default=0))) - set(numbers)


@given(NUMBERS, NUMBERS)
def test_what_is_found_leaves_the_ranges(there: list[int], found: list[int]) -> None:
    ranges = holes(0, there)
    left = without(ranges, found)
    assert _numbers(left) == _numbers(ranges) - set(found)
    assert left == sorted(left)
    assert all(first <= last for first, last in left)


@given(st.lists(NUMBERS.map(lambda numbers: holes(0, numbers)), max_size=3))
def test_a_gap_survives_its_cursor(ranges: list[list[tuple[int, int]]]) -> None:
    for one in ranges:
        gap = Gap(tuple(one), frozenset({"4/2", "-1/77"}), 12.5, 3.25, named=True)
        assert gap_of(gap.as_json()) == gap


def test_a_gap_settles_when_its_writers_are_gone() -> None:
    gap = Gap(((1, 1),), frozenset({"a", "b"}))
    assert not gap.settles(Writers(frozenset({"b", "c"}), exact=True), HORIZON)
    assert gap.settles(Writers(frozenset({"c"}), exact=True), HORIZON)
    assert not gap.settles(Writers(frozenset(), exact=False), HORIZON)
    old = gap.after([], Writers(frozenset(), exact=False)).older(1).after([], Writers(frozenset(), exact=False))
    assert old.older(600).settles(Writers(frozenset(), exact=False), HORIZON)
    assert not old.older(600).settles(Writers(frozenset({"a"}), exact=False), HORIZON)


def test_a_list_of_writers_that_lags_is_completed() -> None:
    """A transaction that began right before the gap was seen is not in InnoDB's list yet."""
    gap = Gap(((1, 1),), frozenset()).after([], Writers(frozenset(), exact=False)).older(1)
    gap = gap.after([], Writers(frozenset(), exact=False, complete=False)).older(1)
    named = gap.after([], Writers(frozenset({"late"}), exact=False))
    assert not named.older(3_600).settles(Writers(frozenset({"late"}), exact=False), HORIZON)
    assert named.older(3_600).after([], Writers(frozenset({"other"}), exact=False)).writers == set()


def test_an_exact_gap_is_looked_at_when_a_writer_ends_and_at_no_other_time() -> None:
    gap = Gap(((1, 1),), frozenset({"a", "b"}))
    writers = Writers(frozenset({"a", "b"}), exact=True)
    assert gap.due(writers, HORIZON), "once at once"
    looked = gap.after([], writers)
    assert not looked.older(3_600).due(writers, HORIZON)
    assert looked.due(Writers(frozenset({"a"}), exact=True), HORIZON)


def test_an_old_gap_is_looked_at_ever_more_rarely() -> None:
    gap, writers, looks = Gap(((1, 1),), frozenset()), Writers(frozenset(), exact=False), 0
    for _ in range(599):
        if gap.due(writers, HORIZON):
            looks, gap = looks + 1, gap.after([], writers)
        gap = gap.older(1)
    assert 30 < looks < 70


def test_gaps_of_nearly_one_age_are_taken_together_and_wait_no_less() -> None:
    gaps = [Gap(((n, n),), frozenset(), age=1_000.0 - n, looked=990.0 - n, named=True) for n in range(0, 1_000, 2)]
    together = merged(gaps)
    assert [one for gap in together for one in gap.ranges] == [one for gap in gaps for one in gap.ranges]
    assert len(together) < 15
    for gap in together:
        parts = [one for one in gaps if one.ranges[0] in gap.ranges]
        assert (gap.age, len(parts) <= MERGED_RANGES) == (min(one.age for one in parts), True)
        assert gap.looked == gap.age - 10


def test_gaps_that_wait_for_others_are_not_taken_together() -> None:
    one = Gap(((1, 1),), frozenset("a"), age=50.0, looked=50.0)
    others = [
        replace(one, ranges=((3, 3),), writers=frozenset("b")),
        replace(one, ranges=((5, 5),), named=True),
        replace(one, ranges=((7, 7),), age=47.0),
        replace(one, ranges=((9, 9),), looked=None),
    ]
    for other in others:
        assert merged([one, other]) == [one, other]
    young = [Gap(((n, n),), frozenset(), age=1.0, looked=1.0) for n in (1, 3)]
    assert merged(young) == young


def test_the_oldest_ranges_are_given_up_first() -> None:
    old = Gap(tuple((number, number) for number in range(0, 2 * MOST_RANGES, 2)), frozenset())
    new = Gap(((10**6, 10**6), (10**7, 10**7)), frozenset())
    kept, given_up = bounded([old, new])
    assert given_up == 2
    assert [gap.ranges[0] for gap in kept] == [(4, 4), (10**6, 10**6)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("a = :x AND b = :y", "a = %(x)s AND b = :y"),
        ("a LIKE '%:x%'", "a LIKE '%%:x%%'"),
        ("a::text = :x % 2", "a::text = %(x)s %% 2"),
        ("-- :x\n:x /* :x */", "-- :x\n%(x)s /* :x */"),
        ('":x" `:x` $$:x$$ $q$:x$q$', '":x" `:x` $$:x$$ $q$:x$q$'),
        ("'it''s :x' || :x", "'it''s :x' || %(x)s"),
    ],
)
def test_placeholders_are_those_of_the_driver(sql: str, expected: str) -> None:
    assert formatted(sql, frozenset({"x"})) == expected
