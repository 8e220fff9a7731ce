"""The laws of detection, each tried on drawn logs."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.core.detect import Fold, Gone, Input, Tick, detect
from notifyd.core.memory import Memory
from notifyd.core.rules import Origin, Rules
from notifyd.core.runs import position_of
from notifyd.model import Closes, Event, EventType, Finding, Record, Status
from tests.core.logs import (
    LAW,
    PATIENT,
    RECORDS,
    SCHEDULES,
    STUCK,
    Told,
    cut,
    edges,
    fold,
    fold_batches,
    inputs,
    logs,
    row,
    tick,
)

QUICK = Rules(threshold=2, remind_every=timedelta(minutes=20))
FAILURES = {EventType.SYNC_ERROR, EventType.RATE_LIMIT, EventType.CONNECTION_FAILURE}

both_kinds = pytest.mark.parametrize("origin", [RECORDS, STUCK], ids=["records", "runs"])


# -- the fold ------------------------------------------------------------------------------------


@both_kinds
@LAW
@given(items=inputs(), edges=edges)
def test_cutting_the_inputs_into_batches_changes_nothing(origin: Origin, items: list[Input], edges: set[int]) -> None:
    whole = fold(*items, rules=QUICK, origin=origin)
    assert fold_batches(cut(items, edges), QUICK, origin) == whole


@both_kinds
@LAW
@given(items=inputs(size=20), before=st.integers(0, 8), edge=st.integers(0, 8))
def test_two_folds_come_to_what_one_does(origin: Origin, items: list[Input], before: int, edge: int) -> None:
    origin = replace(origin, rewatch=timedelta(minutes=30))
    memory, items = Memory().after(detect(Memory(), items[:before], QUICK, origin)), items[before:]
    first = detect(memory, items[:edge], QUICK, origin)
    both = first.then(detect(memory.after(first), items[edge:], QUICK, origin))
    whole = detect(memory, items, QUICK, origin)
    assert memory.after(both) == memory.after(whole)
    assert (both.findings, both.set_aside) == (whole.findings, whole.set_aside)
    assert {name: n for name, n in both.counts.items() if n} == {name: n for name, n in whole.counts.items() if n}


_mostly_plain = st.lists(
    st.builds(
        lambda key, status, minute, read: row(key, status, minute, read=read),
        st.integers(0, 9),
        st.sampled_from(["success", "success", "success", "failure", "failure", "running", "warning"]),
        st.integers(0, 60),
        st.integers(60, 62),
    ),
    max_size=20,
)


@both_kinds
@LAW
@given(records=_mostly_plain, edge=st.integers(0, 20), rewatch=st.sampled_from([None, timedelta(minutes=30)]))
def test_the_quick_way_of_a_plain_success_is_only_quicker(
    origin: Origin, records: list[Record], edge: int, rewatch: timedelta | None
) -> None:
    origin = replace(origin, rewatch=rewatch)
    long_way = Told()
    for batch in (records[:edge], records[edge:]):
        fold_ = Fold(long_way.memory, QUICK, origin)
        for record in batch:
            fold_.step(record)
        long_way.take(fold_.detected)
    assert fold_batches([records[:edge], records[edge:]], QUICK, origin) == long_way


@both_kinds
@LAW
@given(items=inputs())
def test_a_tick_given_twice_changes_nothing(origin: Origin, items: list[Input]) -> None:
    twice = [again for item in items for again in ([item, item] if isinstance(item, Tick) else [item])]
    assert fold(*twice, rules=QUICK, origin=origin) == fold(*items, rules=QUICK, origin=origin)


@both_kinds
@LAW
@given(items=inputs(), edges=edges)
def test_the_memory_of_one_batch_is_left_as_it_was(origin: Origin, items: list[Input], edges: set[int]) -> None:
    """A fold that is thrown away, because its transaction failed, leaves no trace in the next."""
    first, *rest = cut(items, edges)
    memory = fold(*first, rules=QUICK, origin=origin).memory
    before = copy.deepcopy(memory)
    detect(memory, itertools.chain(*rest), QUICK, origin)
    assert memory == before


@both_kinds
@LAW
@given(items=inputs())
def test_the_books_balance(origin: Origin, items: list[Input]) -> None:
    told = fold(*items, rules=QUICK, origin=origin)
    book = told.counts
    outcomes = ("success", "warning", "ignored", "unmapped", "open", "failure", "set_aside")
    assert book["read"] == sum(book[outcome] for outcome in outcomes)
    assert book["failure"] == book["first_errors"] + book["counted"]
    assert book["open"] == sum(status is not Status.UNMAPPED for status in told.watched.values())
    assert book["set_aside"] == len(told.set_aside)


@both_kinds
@LAW
@given(items=inputs(size=20))
def test_ids_are_unique_and_the_same_on_replay(origin: Origin, items: list[Input]) -> None:
    ids = [event.id for event in fold(*items, rules=QUICK, origin=origin).events]
    assert len(set(ids)) == len(ids)
    assert [event.id for event in fold(*items, rules=QUICK, origin=origin).events] == ids


# -- runs and streaks ----------------------------------------------------------------------------


@both_kinds
@LAW
@given(log=logs())
def test_before_an_announcement_the_order_of_arrival_changes_no_count(origin: Origin, log: list[Record]) -> None:
    """The log is drawn in any order; the count is what the whole log says, looked at once.

    So a failed run counts once, whatever the number of its errors.
    """
    told = fold(*log, tick(200), rules=PATIENT, origin=origin)
    sorted_by_time = fold(*sorted(log, key=position_of), tick(200), rules=PATIENT, origin=origin)
    for schedule in SCHEDULES:
        assert told.failures_in_a_row(schedule) == failed_runs_in_a_row(log, schedule, origin)
        assert told.failures_in_a_row(schedule) == sorted_by_time.failures_in_a_row(schedule)


def failed_runs_in_a_row(log: list[Record], schedule: str, origin: Origin) -> int:
    """The failed runs that end after the newest one that succeeded, by looking at all rows at once."""
    runs: dict[tuple[str, str], list[Record]] = {}
    for record in log:
        if record.schedule_id == schedule and belongs_to_a_run(record):
            alone = record.run_id is None or origin is STUCK
            runs.setdefault(("row", record.key) if alone else ("run", str(record.run_id)), []).append(record)
    failed = {run for run, records in runs.items() if any(r.status is Status.FAILURE for r in records)}
    succeeded = {run for run, records in runs.items() if any(r.status is Status.SUCCESS for r in records)} - failed
    ends = {run: max(map(position_of, records)) for run, records in runs.items()}
    newest_success = max((ends[run] for run in succeeded), default=None)
    return sum(newest_success is None or ends[run] > newest_success for run in failed)


def belongs_to_a_run(record: Record) -> bool:
    return record.status not in (Status.IGNORED, Status.UNMAPPED) and "already running" not in (record.message or "")


@both_kinds
@LAW
@given(items=inputs(size=20))
def test_a_streak_is_announced_once_and_recovers_once(origin: Origin, items: list[Input]) -> None:
    told = fold(*items, rules=QUICK, origin=origin)
    for schedule in SCHEDULES:
        check_story([finding.event for finding in told.findings if finding.schedule == schedule])


def check_story(events: list[Event]) -> None:
    """Announced, perhaps reminded, recovered; and again from the beginning. A stuck run is a story by itself."""
    open_streak = None
    for event in events:
        if event.closes and event.closes.event_type == "stuck_run":
            continue
        if event.event_type is EventType.RECOVERED:
            assert open_streak is not None
            assert event.closes == Closes(open_streak, "consecutive_failures")
            open_streak = None
        elif event.event_type is EventType.CONSECUTIVE_FAILURES:
            assert ("told before" in event.message) is (open_streak is not None)
            open_streak = open_streak or event.id


@both_kinds
@LAW
@given(log=logs(size=20))
def test_every_announced_streak_has_recovered_once_a_success_is_the_newest(origin: Origin, log: list[Record]) -> None:
    successes = [row(f"last-{schedule}", "success", 95, schedule_id=schedule) for schedule in SCHEDULES]
    told = fold(*log, *successes, tick(200), rules=QUICK, origin=origin)
    announced = [event.id for event in told.of(EventType.CONSECUTIVE_FAILURES)]
    assert sorted(event.closes.id for event in told.of(EventType.RECOVERED) if event.closes) == sorted(announced)


@both_kinds
@LAW
@given(log=logs(size=20))
def test_a_run_is_told_once_of_each_type(origin: Origin, log: list[Record]) -> None:
    told = fold(*log, tick(200), rules=QUICK, origin=origin)
    failures = [finding for finding in told.findings if finding.event.event_type in FAILURES]
    each = Counter((finding.schedule, run_of(finding, origin), finding.event.event_type) for finding in failures)
    assert set(each.values()) <= {1}


def run_of(finding: Finding, origin: Origin) -> tuple[str, str | None]:
    alone = origin is STUCK or finding.event.run_id is None
    return ("row", finding.record_key) if alone else ("run", finding.event.run_id)


@LAW
@given(items=inputs(size=20))
def test_a_stuck_run_is_told_once_and_its_end_once(items: list[Input]) -> None:
    told = fold(*items, tick(300), rules=QUICK, origin=STUCK)
    still_open = {run.stuck for run in told.memory.runs.values() if run.stuck}
    stuck = [event.id for event in told.of(EventType.STUCK_RUN)]
    ended = [e.closes.id for e in told.events if e.closes and e.closes.event_type == "stuck_run"]
    assert len(set(stuck)) == len(stuck)
    assert sorted([*ended, *still_open]) == sorted(stuck)
    running = {key for key, status in told.watched.items() if status is not Status.UNMAPPED}
    assert still_open == {run.stuck for run in told.memory.runs.values() if run.run_id in running}


# -- independence --------------------------------------------------------------------------------


@both_kinds
@LAW
@given(items=inputs())
def test_schedules_are_independent(origin: Origin, items: list[Input]) -> None:
    together = fold(*items, rules=QUICK, origin=origin)
    for schedule in SCHEDULES:
        mine = [item for item in items if belongs(item, schedule, items)]
        alone = fold(*mine, rules=QUICK, origin=origin)
        assert alone.findings == [finding for finding in together.findings if finding.schedule == schedule]
        assert alone.memory.streaks.get(schedule) == together.memory.streaks.get(schedule)


def belongs(item: Input, schedule: str, items: list[Input]) -> bool:
    """Whether an input says anything to a schedule."""
    if isinstance(item, Gone):
        return any(isinstance(one, Record) and one.key == item.key and belongs(one, schedule, items) for one in items)
    return not isinstance(item, Record) or item.schedule_id == schedule


@both_kinds
@LAW
@given(items=inputs())
def test_sources_are_independent(origin: Origin, items: list[Input]) -> None:
    """The same log in another source, or restored, is the same story again, under ids of its own."""
    one = fold(*items, rules=QUICK, origin=origin)
    for other in (replace(origin, identity="other-db"), replace(origin, epoch=1)):
        two = fold(*items, rules=QUICK, origin=other)
        assert two.types == one.types
        assert not {event.id for event in one.events} & {event.id for event in two.events}
