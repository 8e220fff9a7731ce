"""The record of what each loop did last."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from notifyd.observe.health import LOOPS, SCHEDULER, SENDER, STORE, Health, source

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Seconds:
    """A monotonic clock that a test puts forward."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_ready_once_every_source_was_tried_and_the_sender_has_turned() -> None:
    health, expected = Health(), [source("shop"), source("till"), SENDER]
    assert health.waiting_for(expected) == expected
    health.turn(source("shop"), NOON, ok=True)
    health.turn(SENDER, NOON, ok=True)
    assert health.waiting_for(expected) == [source("till")]
    assert not health.ready(expected)
    health.turn(source("till"), NOON, ok=False, note="cannot open till.db")
    assert health.ready(expected)


def test_a_source_called_sender_is_not_the_sender() -> None:
    health = Health()
    health.turn(source("sender"), NOON, ok=True)
    assert not health.ready([SENDER])


def test_the_report_holds_each_parts_last_turn_by_name() -> None:
    seconds = Seconds()
    health = Health(seconds)
    health.turn(source("shop"), NOON, ok=True)
    health.turn(SENDER, NOON + timedelta(seconds=1), ok=True, note="2 sent")
    seconds.now += 1
    health.turn(source("shop"), NOON + timedelta(seconds=2), ok=False, note="locked")
    seconds.now += 0.5
    report = health.report()
    assert list(report) == sorted(report)
    assert report == {
        "sender": {"ok": True, "last_turn": "2026-11-24T12:00:01.000000Z", "seconds_ago": 1.5, "note": "2 sent"},
        "source:shop": {"ok": False, "last_turn": "2026-11-24T12:00:02.000000Z", "seconds_ago": 0.5, "note": "locked"},
    }


def test_threads_may_report_while_others_read() -> None:
    health, names = Health(), [source(str(number)) for number in range(200)]

    def turn(name: str) -> int:
        health.turn(name, NOON, ok=True)
        return len(health.report())

    with ThreadPoolExecutor(8) as threads:
        assert max(threads.map(turn, names)) == len(names)
    assert health.ready(names)


def test_a_loop_that_ends_no_turn_is_stuck_and_one_whose_turns_fail_is_not() -> None:
    seconds = Seconds()
    health = Health(seconds)
    for seconds.now in range(1000, 1100, 10):
        for name in (STORE, SCHEDULER):
            health.turn(name, NOON, ok=False, note="the disk is full")
    assert health.stuck(60) == ["the sender has ended no turn for 90 s"]
    health.turn(SENDER, NOON, ok=False, note="the disk is full")
    assert health.stuck(60) == []


def test_the_wall_clock_has_no_say_in_it() -> None:
    health = Health(Seconds())
    for name in LOOPS:
        health.turn(name, NOON - timedelta(hours=1), ok=True)
    assert health.stuck(60) == []


def test_one_source_that_hangs_is_not_stuck_all_of_them_are() -> None:
    health = Health(Seconds())
    health.turn(source("shop"), NOON, ok=False, note="no answer", hangs=True)
    health.turn(source("till"), NOON, ok=False, note="refused")
    assert health.stuck(60) == []
    health.turn(source("till"), NOON, ok=False, note="no answer", hangs=True)
    assert health.stuck(60) == ["no source answers, and what reads them hangs"]
    health.keep([])
    assert health.stuck(60) == []


def test_how_far_the_slowest_source_is_behind() -> None:
    seconds = Seconds()
    health = Health(seconds)
    health.turn(source("shop"), NOON, ok=True)
    assert health.behind() == 0
    seconds.now += 10
    health.turn(source("shop"), NOON, ok=False, note="refused")
    seconds.now += 5
    assert health.behind() == 15  # it was well 15 s ago
    health.late(source("till"))  # and this one has much to catch up with
    seconds.now += 20
    health.turn(source("shop"), NOON, ok=True)
    assert health.behind() == 20
    health.turn(source("till"), NOON, ok=True)
    assert health.behind() == 0
