"""The record of what each loop did last."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from notifyd.observe.health import SENDER, Health, source

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


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
    health = Health()
    health.turn(source("shop"), NOON, ok=True)
    health.turn(SENDER, NOON + timedelta(seconds=1), ok=True, note="2 sent")
    health.turn(source("shop"), NOON + timedelta(seconds=2), ok=False, note="locked")
    report = health.report(NOON + timedelta(seconds=2.5))
    assert list(report) == sorted(report)
    assert report == {
        "sender": {"ok": True, "last_turn": "2026-11-24T12:00:01.000000Z", "seconds_ago": 1.5, "note": "2 sent"},
        "source:shop": {"ok": False, "last_turn": "2026-11-24T12:00:02.000000Z", "seconds_ago": 0.5, "note": "locked"},
    }


def test_threads_may_report_while_others_read() -> None:
    health, names = Health(), [source(str(number)) for number in range(200)]

    def turn(name: str) -> int:
        health.turn(name, NOON, ok=True)
        return len(health.report(NOON))

    with ThreadPoolExecutor(8) as threads:
        assert max(threads.map(turn, names)) == len(names)
    assert health.ready(names)
