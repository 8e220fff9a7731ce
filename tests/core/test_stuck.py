"""A run that stays running for too long: told once, and closed when it ends, however it ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from notifyd.core.detect import Gone, Tick, detect
from notifyd.core.memory import Detected, Memory
from notifyd.core.rules import Origin, Rules
from notifyd.model import EventType, RunState, Severity
from tests.core.logs import RUNS, at, row, tick

PATIENCE = replace(RUNS, stuck_after=timedelta(minutes=30))


def poll(memory: Memory, *inputs: object, origin: Origin = PATIENCE) -> tuple[Memory, Detected]:
    detected = detect(memory, inputs, Rules(), origin)  # type: ignore[arg-type]
    return memory.after(detected), detected


def stuck() -> Memory:
    memory, found = poll(Memory(), row("7", "running", 0), tick(31))
    assert [finding.event.event_type for finding in found.findings] == [EventType.STUCK_RUN]
    return memory


def test_it_is_told_once_its_time_has_come() -> None:
    memory, found = poll(Memory(), row("7", "running", 0), tick(29))
    assert found.findings == []
    memory, found = poll(memory, tick(30))
    (finding,) = found.findings
    assert finding.event.severity is Severity.ERROR
    assert finding.event.run_id == "7"
    assert finding.event.connector_id == "woo"
    assert finding.condition == finding.event.id
    assert poll(memory, tick(30), tick(300))[1].findings == []


@pytest.mark.parametrize("end", ["success", "warning", "ignored", "unmapped"])
def test_its_end_is_told(end: str) -> None:
    memory, found = poll(stuck(), row("7", end, 40))
    (closing,) = (finding.event for finding in found.findings)
    assert closing.event_type is EventType.RECOVERED
    assert closing.closes is not None
    assert closing.closes.event_type == EventType.STUCK_RUN
    assert poll(memory, tick(600))[1].findings == []


def test_a_run_that_ends_as_a_failure_is_told_as_both() -> None:
    _, found = poll(stuck(), row("7", "failure", 40))
    assert [finding.event.event_type for finding in found.findings] == [EventType.RECOVERED, EventType.SYNC_ERROR]


def test_a_stuck_row_that_is_deleted_has_ended() -> None:
    memory, found = poll(stuck(), Gone("7", at(50)))
    assert [finding.event.event_type for finding in found.findings] == [EventType.RECOVERED]
    assert [run.state for run in memory.runs.values()] == [RunState.SUCCEEDED]  # its ids are taken
    assert memory.watched == {}
    assert found.counts == {"open": -1, "ignored": 1}


def test_a_row_that_runs_again_can_be_stuck_again() -> None:
    memory, _ = poll(stuck(), row("7", "failure", 40))
    memory, found = poll(memory, row("7", "running", 41), tick(42))
    assert found.findings == []
    _, again = poll(memory, tick(1000))
    assert [finding.event.event_type for finding in again.findings] == [EventType.STUCK_RUN]
    first = detect(Memory(), [row("7", "running", 0), Tick(at(31))], Rules(), PATIENCE).findings[0]
    assert again.findings[0].event.id != first.event.id


@pytest.mark.parametrize("end", ["success", "ignored"])
def test_also_where_it_ended_well_in_between(end: str) -> None:
    """Each time under an id of its own; two runs of one row may even begin at one time, as far as the log says."""
    told, memory = set(), Memory()
    for minute in (0, 100, 200):
        memory, found = poll(memory, row("7", "running", 0, read=minute), tick(minute + 31))
        told |= {finding.event.id for finding in found.findings}
        memory, found = poll(memory, row("7", end, 0, read=minute + 40))
        told |= {finding.event.id for finding in found.findings}
    assert len(told) == 6


def test_a_deleted_row_ends_no_run_that_only_has_its_key_for_an_id() -> None:
    """Rows and runs may both be numbered from one."""
    records = replace(RUNS, rows="records")
    run = row("2", "success", 1, run_id="7", schedule_id="hourly")
    memory, _ = poll(Memory(), run, row("7", "running", 2, run_id="8"), origin=records)
    memory, _ = poll(memory, Gone("7", at(3)), origin=records)
    assert ("hourly", "7") in memory.runs
    assert memory.watched == {}


def test_without_a_limit_a_run_may_take_for_ever() -> None:
    assert poll(Memory(), row("7", "running", 0), tick(100_000), origin=RUNS)[1].findings == []
