"""Detection by example: what each kind of row does to its run and its streak."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifyd.core.detect import Input, detect
from notifyd.core.memory import Memory
from notifyd.core.rules import Rules
from notifyd.core.runs import schedule_of
from notifyd.core.watching import MOST_UNMAPPED
from notifyd.model import EventType, RunState, Status
from tests.core.logs import NAIVE, PATIENT, RECORDS, RUNS, at, fold, fold_batches, row, tick

THREE = Rules(threshold=3)


def failed(key: str, minute: float, run: str | None = None, **values: Any) -> Input:
    return row(key, "failure", minute, run_id=run, **values)


def succeeded(key: str, minute: float, run: str | None = None, **values: Any) -> Input:
    return row(key, "success", minute, run_id=run, **values)


# -- a row is a run ------------------------------------------------------------------------------


def test_one_failed_run_is_told_at_once() -> None:
    told = fold(failed("1", 0), origin=RUNS)
    (event,) = told.events
    assert event.event_type is EventType.SYNC_ERROR
    assert (event.timestamp, event.schedule_id, event.source) == (at(0), "nightly", "shop")


def test_the_third_failure_in_a_row_is_told_as_itself_and_as_the_streak() -> None:
    told = fold(failed("1", 0), failed("2", 1), failed("3", 2), failed("4", 3), origin=RUNS)
    assert told.types == ["sync_error", "sync_error", "sync_error", "consecutive_failures", "sync_error"]
    announcement = told.events[3]
    assert announcement.details["failure_count"] == "3"
    assert (announcement.timestamp, announcement.details["since"]) == (at(2), "2026-11-24T12:00:00.000000Z")
    assert (announcement.connector_id, announcement.entity_type) == ("woo", "orders")


def test_the_failures_after_an_announcement_belong_to_it() -> None:
    """What a config that was told of the streak need not hear again."""
    told = fold(*[failed(str(n), n) for n in range(1, 5)], origin=RUNS)
    announcement = told.of(EventType.CONSECUTIVE_FAILURES)[0].id
    assert [finding.condition for finding in told.findings] == [None, None, None, announcement, announcement]


def test_a_success_ends_the_count() -> None:
    told = fold(failed("1", 0), failed("2", 1), succeeded("3", 2), failed("4", 3), failed("5", 4), origin=RUNS)
    assert EventType.CONSECUTIVE_FAILURES not in told.types
    assert told.failures_in_a_row() == 2


def test_recovery_says_what_it_closes_and_how_bad_it_was() -> None:
    told = fold(*[failed(str(n), n) for n in range(5)], succeeded("5", 5), origin=RUNS)
    (announcement,), (recovery,) = told.of(EventType.CONSECUTIVE_FAILURES), told.of(EventType.RECOVERED)
    assert recovery.closes is not None
    assert recovery.closes.id == announcement.id
    assert (recovery.timestamp, recovery.details["failure_count"]) == (at(5), "5")


def test_the_next_streak_is_another() -> None:
    streak = [failed("1", 1), failed("2", 2), failed("3", 3), succeeded("4", 4)]
    again = [failed("5", 5), failed("6", 6), failed("7", 7), succeeded("8", 8)]
    told = fold(*streak, *again, origin=RUNS)
    first, second = told.of(EventType.CONSECUTIVE_FAILURES)
    assert first.id != second.id
    assert [event.closes.id for event in told.of(EventType.RECOVERED) if event.closes] == [first.id, second.id]


def test_a_failure_older_than_the_last_success_is_told_but_not_counted() -> None:
    told = fold(failed("1", 0), succeeded("3", 10), failed("2", 5, read=11), origin=RUNS)
    assert told.types == ["sync_error", "sync_error"]
    assert told.failures_in_a_row() == 0


def test_a_failure_older_than_the_streak_is_told_beside_it() -> None:
    """It does not belong to the streak, so nobody folds it."""
    streak = [failed("2", 11), failed("3", 12), failed("4", 13)]
    told = fold(succeeded("1", 10), *streak, failed("0", 5, read=14), origin=RUNS)
    assert told.types[-2:] == ["consecutive_failures", "sync_error"]
    assert told.findings[-1].condition is None
    assert told.memory.streaks["nightly"].failed_runs == 3


def test_a_late_success_before_the_failures_takes_none_away() -> None:
    told = fold(failed("2", 2), failed("3", 3), succeeded("1", 1, read=4), failed("4", 4), origin=RUNS)
    assert told.of(EventType.CONSECUTIVE_FAILURES)


def test_a_late_success_before_the_failures_ends_no_streak() -> None:
    told = fold(*[failed(str(n), n) for n in (2, 3, 4)], succeeded("1", 1, read=9), origin=RUNS)
    assert told.types[-1] == "consecutive_failures"


def test_an_announcement_is_about_when_its_failures_were_not_when_they_arrived() -> None:
    told = fold(failed("3", 3, read=9), failed("1", 1, read=9), failed("2", 2, read=9), origin=RUNS)
    announcement = told.of(EventType.CONSECUTIVE_FAILURES)[0]
    assert (announcement.timestamp, announcement.details["since"]) == (at(3), "2026-11-24T12:01:00.000000Z")


def test_of_what_went_well_only_the_newest_is_remembered() -> None:
    told = fold(failed("0", 0), *(succeeded(str(n), n) for n in range(1, 100)), origin=RUNS)
    assert len(told.memory.streaks["nightly"].outcomes) == 1
    assert told.memory.runs.keys() == {("nightly", "0")}


def test_memory_of_a_schedule_is_bounded() -> None:
    told = fold(*(failed(str(n), n) for n in range(100)), origin=RUNS)
    assert len(told.memory.streaks["nightly"].outcomes) == 16
    assert told.memory.streaks["nightly"].failed_runs == 100


def test_rows_are_ordered_by_time_then_by_key_as_a_number() -> None:
    """Ten comes after nine."""
    assert fold(failed("9", 0), succeeded("10", 0), origin=RUNS).failures_in_a_row() == 0
    assert fold(succeeded("9", 0), failed("10", 0), origin=RUNS).failures_in_a_row() == 1


@pytest.mark.parametrize("status", ["warning", "ignored", "unmapped", "running", "retrying"])
def test_what_neither_counts_nor_resets(status: str) -> None:
    told = fold(failed("1", 1), failed("2", 2), row("3", status, 3), failed("4", 4), origin=RUNS)
    assert told.types[-1] == "consecutive_failures"
    alone = fold(row("1", status, 3), tick(60), origin=RUNS)
    assert alone.events == []
    assert alone.failures_in_a_row() == 0


def test_retrying_is_not_a_failure_until_it_is() -> None:
    told = fold(row("1", "retrying", 0), row("1", "retrying", 0, read=1), origin=RUNS)
    assert told.events == []
    assert told.watched == {"1": Status.RETRYING}
    assert fold(row("1", "retrying", 0), failed("1", 1), origin=RUNS).types == ["sync_error"]


def test_a_row_that_says_it_is_no_failure_is_ignored() -> None:
    told = fold(failed("1", 0, message="Sync already running for tenant T connector C"), origin=RUNS)
    assert told.events == []
    assert told.counts == {"read": 1, "ignored": 1}


def test_an_unknown_status_is_counted_and_visible() -> None:
    assert fold(row("1", "unmapped"), origin=RUNS).counts == {"read": 1, "unmapped": 1}


def test_rows_that_share_a_run_id_are_runs_of_their_own() -> None:
    told = fold(failed("1", 0, "A"), failed("2", 1, "A"), failed("3", 2, "A"), origin=RUNS)
    assert told.types == ["sync_error", "sync_error", "sync_error", "consecutive_failures"]
    assert len({event.id for event in told.events}) == 4


# -- rows that are running -----------------------------------------------------------------------


def test_a_running_row_is_watched_until_it_ends() -> None:
    running = fold(row("1", "running", 0), origin=RUNS)
    assert running.watched == {"1": Status.RUNNING}
    assert running.counts == {"read": 1, "open": 1}
    ended = fold_batches([[row("1", "running", 0)], [failed("1", 5)]], THREE, RUNS)
    assert ended.watched == {}
    assert ended.types == ["sync_error"]
    assert ended.counts == {"read": 1, "open": 0, "failure": 1, "first_errors": 1}


def test_a_row_of_an_unmapped_status_is_watched_as_it_may_yet_fail() -> None:
    told = fold_batches([[row("1", "unmapped", 0)], [row("1", "unmapped", 1)], [failed("1", 5)]], THREE, RUNS)
    assert told.types == ["sync_error"]
    assert told.watched == {}
    assert told.counts == {"read": 1, "unmapped": 0, "failure": 1, "first_errors": 1}


def test_a_log_of_nothing_understood_is_watched_only_so_far() -> None:
    told = fold(*(row(n, "unmapped", n) for n in range(MOST_UNMAPPED + 50)), origin=RUNS)
    assert len(told.watched) == MOST_UNMAPPED


def test_however_many_rows_are_of_an_unknown_status_the_cut_changes_nothing() -> None:
    """No more than so many are watched; which, says the log alone."""
    unknown = [row(n, "unmapped", 0) for n in range(MOST_UNMAPPED)]
    understood = [succeeded(str(n), 1) for n in range(10)]
    more = [row(n, "unmapped", 2) for n in range(MOST_UNMAPPED, MOST_UNMAPPED + 20)]
    whole = fold(*unknown, *understood, *more, origin=RUNS)
    assert fold_batches([unknown, [*understood, *more]], THREE, RUNS) == whole
    assert len(whole.watched) == MOST_UNMAPPED


@pytest.mark.parametrize("end", ["success", "warning", "ignored"])
def test_a_run_that_ends_well_is_forgotten(end: str) -> None:
    told = fold_batches([[row("1", "running", 0)], [row("1", end, 5)]], THREE, RUNS)
    assert told.memory.runs == {}
    assert told.watched == {}
    assert told.counts == {"read": 1, "open": 0, end: 1}


def test_a_row_that_is_run_again_and_again_counts_each_time() -> None:
    again = [one for n in range(3) for one in (row("1", "running", 2 * n), failed("1", 2 * n + 1))]
    told = fold(*again, rules=THREE, origin=RUNS)
    assert told.types == ["sync_error"] * 3 + ["consecutive_failures"]
    assert {event.run_id for event in told.of(EventType.CONSECUTIVE_FAILURES)} == {"1"}


def test_a_row_that_runs_again_and_fails_again_is_a_new_occurrence() -> None:
    told = fold(failed("1", 0), row("1", "running", 1), failed("1", 2), origin=RUNS)
    assert told.types == ["sync_error", "sync_error"]
    assert len({event.id for event in told.events}) == 2


def test_it_is_a_new_occurrence_also_after_a_success_in_between() -> None:
    again = [row("1", "running", 1), succeeded("1", 2), row("1", "running", 3), failed("1", 4)]
    told = fold(failed("1", 0), *again, failed("1", 5), origin=RUNS)
    assert told.types == ["sync_error", "sync_error"]
    assert len({event.id for event in told.events}) == 2


def test_a_row_that_left_a_failure_for_a_success_and_fails_again_is_told_again() -> None:
    told = fold(failed("1", 0), succeeded("1", 1), failed("1", 2), origin=RUNS)
    assert told.types == ["sync_error", "sync_error"]
    assert len({event.id for event in told.events}) == 2
    assert told.failures_in_a_row() == 1


def test_the_same_failed_row_read_again_is_told_once() -> None:
    told = fold(failed("1", 0), failed("1", 0, read=1), origin=RUNS)
    assert told.types == ["sync_error"]
    assert told.counts == {"read": 1, "failure": 1, "first_errors": 1}


# -- many rows are a run -------------------------------------------------------------------------


def test_a_run_fails_at_its_first_failing_record_and_counts_the_rest() -> None:
    told = fold(succeeded("1", 0, "A"), failed("2", 1, "A"), failed("3", 2, "A"), succeeded("4", 3, "A"))
    assert told.types == ["sync_error"]
    assert told.counts["counted"] == 1
    assert told.memory.runs["nightly", "A"].failures == 2
    assert told.failures_in_a_row() == 1


def test_a_run_is_told_of_each_type_of_error() -> None:
    told = fold(failed("1", 0, "A"), failed("2", 1, "A", message="429 too many requests"), failed("3", 2, "A"))
    assert told.types == ["sync_error", "rate_limit"]


def test_a_run_within_two_schedules_is_two_runs() -> None:
    told = fold(failed("1", 0, "A"), failed("2", 1, "A", schedule_id="hourly"))
    assert told.types == ["sync_error", "sync_error"]


def test_without_a_schedule_id_the_tenant_connector_and_entity_are_the_schedule() -> None:
    one = row("1", schedule_id=None, tenant_id="T", connector_id="woo", entity_type="orders")
    assert schedule_of(one) == '["T","woo","orders"]'.replace(",", ", ")
    assert schedule_of(one._replace(entity_type="items")) != schedule_of(one)
    assert schedule_of(one._replace(tenant_id=None)) != schedule_of(one)


def test_a_run_ends_well_when_a_later_run_begins() -> None:
    open_run = fold(succeeded("1", 0, "A"))
    assert open_run.memory.runs["nightly", "A"].state is RunState.OPEN
    told = fold(succeeded("1", 0, "A"), succeeded("2", 5, "B"))
    assert told.memory.runs["nightly", "A"].state is RunState.SUCCEEDED
    assert told.memory.runs["nightly", "B"].state is RunState.OPEN


def test_a_run_ends_well_after_some_quiet() -> None:
    early, late = fold(succeeded("1", 0, "A"), tick(9.9)), fold(succeeded("1", 0, "A"), tick(10))
    assert early.memory.runs["nightly", "A"].state is RunState.OPEN
    assert late.memory.runs["nightly", "A"].state is RunState.SUCCEEDED


def test_quiet_is_the_settings_to_say() -> None:
    patient = replace(RECORDS, run_ends_after=timedelta(hours=1))
    told = fold(succeeded("1", 0, "A"), tick(59), origin=patient)
    assert told.memory.runs["nightly", "A"].state is RunState.OPEN


def test_a_run_that_is_still_writing_is_not_ended_by_its_own_rows() -> None:
    """Rows of one run in another order than their times: no later run has begun."""
    streak = [failed(str(n), n, f"bad-{n}") for n in range(3)]
    told = fold(*streak, succeeded("11", 10, "A"), succeeded("12", 9, "A"), failed("13", 11, "A"))
    assert told.memory.runs["nightly", "A"].state is RunState.FAILED
    assert EventType.RECOVERED not in told.types


def test_a_failing_record_that_comes_late_still_makes_the_run_fail_and_is_told_once() -> None:
    told = fold(
        failed("1", 0, "A"),
        failed("2", 1, "B"),
        succeeded("3", 2, "C"),
        succeeded("4", 3, "D"),  # C has succeeded, as far as one knows
        failed("5", 2.5, "C", read=4),
        failed("6", 2.6, "C", read=4),
    )
    assert told.types == ["sync_error", "sync_error", "sync_error", "consecutive_failures"]
    assert told.memory.runs["nightly", "C"].state is RunState.FAILED


def test_a_run_of_warnings_alone_says_nothing_to_its_streak() -> None:
    warned = row("3", "warning", 2, run_id="C")
    told = fold(failed("1", 0, "A"), failed("2", 1, "B"), warned, failed("4", 3, "D"), tick(60))
    assert told.types[-1] == "consecutive_failures"


def test_not_even_when_another_warning_comes_after_its_end() -> None:
    warnings = [row("3", "warning", 2, run_id="C"), tick(60), row("4", "warning", 61, run_id="C")]
    told = fold(failed("1", 0, "A"), failed("2", 1, "B"), *warnings, failed("5", 62, "D"), tick(120))
    assert told.types[-1] == "consecutive_failures"


def test_an_open_row_stretches_its_run_whenever_it_arrives() -> None:
    running, failing = row("1", "running", 5, run_id="A", read=9), failed("2", 1, "A", read=9)
    other = succeeded("3", 3, "B", read=9)
    for log in ([running, failing, other], [failing, running, other], [failing, other, running]):
        assert fold(*log, tick(60), rules=PATIENT).failures_in_a_row() == 1


def test_rows_without_a_run_id_beside_runs_count_the_same_in_any_order() -> None:
    """A success that nothing takes back makes history of what is before it, also where a later one is taken back."""
    before, alone = failed("1", 1), succeeded("2", 3, read=9)
    taken_back = [succeeded("3", 5, "A"), succeeded("4", 7, "B"), failed("5", 6, "A", read=9), failed("6", 8, "B")]
    assert fold(before, alone, *taken_back, rules=PATIENT).failures_in_a_row() == 2
    assert fold(before, *taken_back[:2], alone, *taken_back[2:], rules=PATIENT).failures_in_a_row() == 2


def test_a_run_that_turns_out_failed_joins_the_streak_that_was_announced_behind_it() -> None:
    told = fold(
        succeeded("1", 0, "A"),
        failed("2", 1, "B"),
        failed("3", 2, "C"),
        failed("4", 3, "D"),
        failed("5", -1, "A", read=4),
    )
    announcement = told.of(EventType.CONSECUTIVE_FAILURES)[0]
    assert told.findings[-1].condition == announcement.id
    assert told.memory.streaks["nightly"].failed_runs == 4


def test_what_one_tick_ends_is_told_in_the_order_of_time() -> None:
    """Whatever the order in which the state DB gives the runs."""
    schedules = {"zebra": 0, "ant": 20}
    log = [
        one
        for schedule, start in schedules.items()
        for one in (
            *(failed(f"{schedule}{n}", start + n, f"bad-{n}", schedule_id=schedule) for n in range(3)),
            succeeded(f"{schedule}3", start + 3, "good", schedule_id=schedule),
        )
    ]
    memory = fold(*log).memory
    turned = Memory(dict(reversed(memory.runs.items())), dict(reversed(memory.streaks.items())))
    for known in (memory, turned):
        recovered = [finding.event.schedule_id for finding in detect(known, [tick(90)], THREE, RECORDS).findings]
        assert recovered == ["zebra", "ant"]


# -- reminders -----------------------------------------------------------------------------------

DAY = 24 * 60
STREAK = [failed("1", 0), failed("2", 1), failed("3", 2)]


def test_a_streak_that_goes_on_is_told_again_after_a_day() -> None:
    told = fold(*STREAK, failed("4", 60), tick(DAY + 1), tick(DAY + 2), tick(DAY + 3), origin=RUNS)
    announcement, reminder = told.of(EventType.CONSECUTIVE_FAILURES)
    assert reminder.id != announcement.id
    assert (reminder.timestamp, reminder.details["failure_count"]) == (at(DAY + 2), "4")
    assert "told before" in reminder.message
    assert told.findings[-1].condition == announcement.id


def test_a_streak_without_another_failure_is_not_told_again() -> None:
    told = fold(*STREAK, *[tick(DAY * days) for days in range(1, 5)], origin=RUNS)
    assert len(told.of(EventType.CONSECUTIVE_FAILURES)) == 1


def test_each_day_with_failures_has_its_reminder() -> None:
    days = [i for n in range(1, 4) for i in (failed(str(10 + n), DAY * n - 60), tick(DAY * n + 5))]
    told = fold(*STREAK, *days, origin=RUNS)
    assert len(told.of(EventType.CONSECUTIVE_FAILURES)) == 1 + 3
    assert len({event.id for event in told.events}) == len(told.events)


def test_no_reminders_where_the_settings_say_never() -> None:
    never = Rules(remind_every=None)
    told = fold(*STREAK, failed("4", 60), tick(DAY * 9), rules=never, origin=RUNS)
    assert len(told.of(EventType.CONSECUTIVE_FAILURES)) == 1


def test_nothing_is_told_again_after_recovery() -> None:
    told = fold(*STREAK, failed("4", 60), succeeded("5", 61), tick(DAY * 2), origin=RUNS)
    assert told.types[-1] == "recovered"


# -- strange rows --------------------------------------------------------------------------------


def test_a_row_that_cannot_be_folded_is_set_aside_and_stops_nothing() -> None:
    poison = failed("2", 1, occurred_at=NAIVE)
    told = fold(failed("1", 0), poison, failed("3", 2), failed("4", 3), origin=RUNS)
    assert told.types == ["sync_error", "sync_error", "sync_error", "consecutive_failures"]
    ((key, why),) = told.set_aside
    assert key == "2"
    assert why.startswith("TypeError")
    assert told.counts["set_aside"] == 1


def test_it_leaves_no_trace_but_its_line_in_the_books() -> None:
    good = [failed("1", 0, "A"), succeeded("3", 2, "B")]
    poison = row("2", "running", run_id="C", occurred_at=NAIVE)
    with_it, without = fold(good[0], poison, good[1]), fold(*good)
    assert (with_it.findings, with_it.memory) == (without.findings, without.memory)
    assert with_it.counts - without.counts == {"read": 1, "set_aside": 1}


def test_a_watched_row_that_cannot_be_folded_is_watched_no_more() -> None:
    """It is set aside once, not at every poll."""
    told = fold_batches([[row("1", "running", 0)], [failed("1", 1, occurred_at=NAIVE)]], THREE, RUNS)
    assert told.watched == {}
    assert told.counts == {"read": 1, "open": 0, "set_aside": 1}


def test_a_row_dated_2099_counts_as_of_when_it_was_read() -> None:
    future = datetime(2099, 1, 1, tzinfo=UTC)
    told = fold(failed("1", 0, occurred_at=future, read=1), succeeded("2", 2), origin=RUNS)
    assert told.events[0].timestamp == at(1)
    assert told.failures_in_a_row() == 0


def test_the_time_of_a_row_is_when_it_finished_else_occurred_else_started() -> None:
    times: dict[str, Any] = {"finished_at": at(3), "occurred_at": at(2), "started_at": at(1)}
    expected = [3, 2, 1, 9]
    for minute in expected:
        told = fold(row("1", "failure", read=9, message="x", **times), origin=RUNS)
        assert told.events[0].timestamp == at(minute)
        times[next((name for name, moment in times.items() if moment), "finished_at")] = None


@pytest.mark.parametrize("good_between", [0, 1, 50])
def test_many_poisoned_rows_are_set_aside_in_one_batch(good_between: int) -> None:
    """To fold the batch anew for each of them took 36 times as long as without them; in halves it takes some four."""
    every = good_between + 1
    good = [failed(str(n), n, occurred_at=at(n)) for n in range(2_500)]
    log = [record._replace(occurred_at=NAIVE) if n % every == 0 else record for n, record in enumerate(good)]
    began = time.process_time()
    detect(Memory(), good, PATIENT, RUNS)
    then = time.process_time()
    detected = detect(Memory(), log, PATIENT, RUNS)
    assert detected.counts["set_aside"] == len(detected.set_aside) == len(range(0, 2_500, every))
    assert detected.counts["first_errors"] == 2_500 - detected.counts["set_aside"]
    assert time.process_time() - then < 12 * (then - began)
