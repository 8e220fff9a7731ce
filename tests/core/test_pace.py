"""How many deliveries are claimed ahead: laws."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from notifyd.core.pace import MOST, Pace

steps = st.lists(st.sampled_from(["sent", "failed", "turn"]), max_size=60)


def after(steps: list[str]) -> Pace:
    pace = Pace()
    for step in steps:
        if step == "turn":
            pace.turned()
        else:
            pace.ended(sent=step == "sent")
    return pace


@given(steps, st.integers(1, 100))
def test_as_many_as_are_attempted_at_once_and_never_too_many(steps: list[str], at_once: int) -> None:
    assert at_once <= after(steps).most(at_once) <= max(at_once, MOST)


@given(steps, st.integers(1, 100))
def test_after_a_failure_nothing_is_ahead(steps: list[str], at_once: int) -> None:
    assert after([*steps, "failed"]).most(at_once) == at_once
    assert after([*steps, "failed", "turn"]).most(at_once) == at_once


@given(steps)
def test_each_failure_counts(steps: list[str]) -> None:
    assert after(steps).falls == steps.count("failed")


def test_it_doubles_while_all_is_sent() -> None:
    pace, depths = Pace(), []
    for _ in range(8):
        for _ in range(pace.most(8)):
            pace.ended(sent=True)
        pace.turned()
        depths.append(pace.most(8))
    assert depths == [16, 32, 64, 128, 256, 500, 500, 500]
    pace.turned()  # and nothing was sent
    assert pace.most(8) == 8
