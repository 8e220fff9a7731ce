"""The runs that records belong to: who a record is part of, and the working copy while inputs are folded."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import datetime

from notifyd.core.memory import Detected, Memory, RunKey
from notifyd.core.rules import Origin
from notifyd.core.streaks import AGAIN, ALONE
from notifyd.model import Position, Record, Run, RunOutcome, RunState


def schedule_of(record: Record) -> str:
    """What fails in a row: the schedule id, or, where the log has none, (tenant, connector, entity type)."""
    return schedule_name(record.schedule_id, record.tenant_id, record.connector_id, record.entity_type)


def schedule_name(schedule_id: str | None, *others: str | None) -> str:
    """The same of the parts: the schedule id, and (tenant, connector, entity type)."""
    return json.dumps(others, ensure_ascii=False) if schedule_id is None else schedule_id


def position_of(record: Record) -> Position:
    """Where the record stands in its schedule: no row counts as later than when it was read."""
    read_at, key = record.read_at, record.key
    at = record.finished_at or record.occurred_at or record.started_at or read_at
    return Position(min(read_at, at), key.zfill(20) if key.isdigit() else key)


def run_of(record: Record, origin: Origin) -> str:
    """The run that a record belongs to: its run id, or itself, by its key, where a row is a run."""
    if origin.rows == "runs":
        return record.key
    return ALONE + record.key if record.run_id is None else record.run_id


class Runs:
    """The working copy of the runs: whatever an input touches is copied once, then changed in place."""

    def __init__(self, memory: Memory, detected: Detected, origin: Origin) -> None:
        self._known = memory.runs
        self._found = detected
        self._origin = origin
        self._schedules: dict[tuple[str | None, ...], str] = {}
        self._open: dict[str, dict[str, RunKey]] = {}  # schedule → run id → key, of runs without an outcome yet
        for key, run in memory.runs.items():
            if run.state is RunState.OPEN:
                self._open.setdefault(run.schedule, {})[run.run_id] = key

    def key_of(self, record: Record) -> RunKey:
        """The record's schedule and run."""
        parts = (record.schedule_id, record.tenant_id, record.connector_id, record.entity_type)
        schedule = self._schedules.get(parts)
        if schedule is None:
            schedule = self._schedules[parts] = schedule_name(*parts)
        return schedule, run_of(record, self._origin)

    def peek(self, key: RunKey) -> Run | None:
        """The run as it stands, not to be changed."""
        if key in self._found.forgotten:
            return None
        return self._found.runs.get(key) or self._known.get(key)

    def known(self, key: RunKey) -> Run:
        """As `peek`, of a run that is there."""
        run = self.peek(key)
        if run is None:
            raise LookupError(key)
        return run

    def copy(self, key: RunKey) -> Run:
        """The run, to be changed."""
        run = self._found.runs.get(key)
        if run is None:
            run = self._found.runs[key] = copy.copy(self.known(key))
        return run

    def of_record(self, record: Record) -> Run:
        """The record's run, to be changed; a new one where it is not known."""
        key = self.key_of(record)
        if self.peek(key):
            return self._of_this_epoch(self.copy(key), record)
        position = position_of(record)
        run = self._found.runs[key] = Run(
            *key, start=position, end=position, last_read_at=record.read_at, epoch=self._origin.epoch
        )
        self._found.forgotten.discard(key)
        self._open.setdefault(run.schedule, {})[run.run_id] = key
        return run

    def _of_this_epoch(self, run: Run, record: Record) -> Run:
        """Where the log began anew, a row with the key of one that had ended is another one."""
        if run.epoch != self._origin.epoch and run.state is not RunState.OPEN and self.is_whole(record):
            leave_failure(run)
            run.start = run.end = position_of(record)
            run.epoch = self._origin.epoch
        return run

    def open_of(self, schedule: str) -> list[RunKey]:
        """The open runs of a schedule."""
        return list(self._open.get(schedule, {}).values())

    def schedules_at_work(self) -> list[str]:
        """The schedules that have open runs."""
        return [schedule for schedule, runs in self._open.items() if runs]

    def quiet(self, now: datetime) -> Iterator[Run]:
        """The open runs of which nothing was read for so long that they have ended."""
        return (run for run in self._all_open() if now - run.last_read_at >= self._origin.run_ends_after)

    def stuck(self, now: datetime) -> Iterator[Run]:
        """The open runs that have been running for too long. Only where a row is a run: there it says that it runs."""
        after = self._origin.stuck_after
        if after is None or self._origin.rows != "runs":
            return iter(())
        return (run for run in self._all_open() if run.stuck is None and now - run.last_sign >= after)

    def close(self, run: Run) -> None:
        """The run has an outcome."""
        self._open.get(run.schedule, {}).pop(run.run_id, None)

    def forget(self, key: RunKey) -> None:
        """Forget an open run; but what was told of it has ids, which it may not give again."""
        run = self.known(key)
        self.close(run)
        if run.occurrence:
            self.copy(key).state = RunState.SUCCEEDED
            return
        self._found.runs.pop(key, None)
        self._found.forgotten.add(key)

    def reopen(self, run: Run, record: Record) -> None:
        """A row that had ended runs again."""
        if run.state is RunState.FAILED:
            leave_failure(run)
        if run.state is not RunState.OPEN:
            run.start, run.beat = position_of(record), None
        run.state = RunState.OPEN
        self._open.setdefault(run.schedule, {})[run.run_id] = (run.schedule, run.run_id)

    def is_whole(self, record: Record) -> bool:
        """Whether the record is a run by itself."""
        return self._origin.rows == "runs" or record.run_id is None

    def is_row(self, run_id: str) -> bool:
        """Whether the run is a row by itself."""
        return self._origin.rows == "runs" or run_id.startswith(ALONE)

    def _all_open(self) -> Iterator[Run]:
        return (self.known(key) for runs in self._open.values() for key in runs.values())


def outcome_of(run: Run) -> RunOutcome:
    """How the run ended, as its schedule's streak has it."""
    return RunOutcome(run.end, outcome_name(run), failed=run.state is RunState.FAILED)


def outcome_name(run: Run) -> str:
    """What an outcome is called: a row that is run again, and fails again, counts once more."""
    return f"{run.run_id}{AGAIN}{run.occurrence}" if run.occurrence else run.run_id


def leave_failure(run: Run) -> None:
    """The row left a terminal state: should it fail again, that is a new occurrence."""
    run.state, run.told, run.occurrence = RunState.SUCCEEDED, (), run.occurrence + 1
