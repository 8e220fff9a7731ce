"""The status line, and what systemd's watchdog is told."""

import os

import pytest

from notifyd.observe.status import LONGEST, Standing, Troubles, line
from notifyd.observe.watchdog import Watchdog


@pytest.mark.parametrize(
    ("standing", "text"),
    [
        (Standing(3, 0, 0.2, 2, 1), "3 sources, lag 0 s, 2 pending, 1 endpoint failing"),
        (Standing(1, 1, 63.4, 0, 0), "1 source (1 failing), lag 63 s, 0 pending"),
        (Standing(1, 0, 0, None, 2, Troubles(store="full")), "full; 1 source, lag 0 s, 2 endpoints failing"),
        (Standing(0, 0, 0, 0, 0, Troubles("a", "b", "c")), "a; b; c; 0 sources, lag 0 s, 0 pending"),
    ],
)
def test_the_status_line(standing: Standing, text: str) -> None:
    assert line(standing) == text


def test_a_status_line_has_an_end() -> None:
    assert len(line(Standing(1, 0, 0, 0, 0, Troubles(refused="x" * 10_000)))) == LONGEST


def test_nobody_watches_by_default() -> None:
    watchdog = Watchdog(2.0, {})
    assert (watchdog.period, watchdog.lines([])) == (0.0, [])


@pytest.mark.parametrize("environ", [{"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}])
def test_what_is_not_meant_for_this_process(environ: dict[str, str]) -> None:
    assert Watchdog(2.0, environ).period == 0.0


@pytest.mark.parametrize(("period", "limit", "pause"), [(120, 60, 5), (600, 60, 5), (30, 15, 5), (2, 4, 0.5)])
def test_it_is_told_often_enough_and_a_part_has_half_of_the_time(period: int, limit: float, pause: float) -> None:
    watchdog = Watchdog(2.0, {"WATCHDOG_USEC": f"{period}000000", "WATCHDOG_PID": str(os.getpid())})
    assert (watchdog.period, watchdog.limit, watchdog.pause) == (period, limit, pause)
    assert watchdog.lines([]) == ["WATCHDOG=1"]
    assert watchdog.lines(["the sender"]) == []
