"""Detection: a fold over records and ticks.

    detect(memory, [Record | Gone | Tick …]) → Detected(what changed in memory, findings, counts)

First law: for a fixed sequence of inputs, cutting it into batches anywhere changes nothing.
Second law: a Tick given twice changes nothing. Third law: before a streak is announced, the order
in which its runs arrive changes no count.

A record belongs to a run, a run to a schedule, and a schedule has one streak. Rows arrive in any
order, so a streak holds the newest run outcomes by *position* (time, then key) and is evaluated anew
when one of them changes. In a record-level log a success is provisional: it is taken back when a late
record of the same run fails.
"""

from __future__ import annotations

import copy
import json
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from notifyd.core import describe
from notifyd.core.classify import Failure, classify
from notifyd.core.rules import Origin, Rules
from notifyd.model import Finding, Position, Record, Run, RunOutcome, RunState, Status, Streak


class Tick(NamedTuple):
    """Time alone: given only after a poll that read to the end of the log, never between catch-up batches."""

    now: datetime


class Gone(NamedTuple):
    """A watched row that is in the log no more: it ended without a word."""

    key: str
    read_at: datetime


Input = Record | Gone | Tick


RunKey = tuple[str, str]  # schedule, run id

MOST_UNMAPPED = 1000
"""With so many rows watched, one more of an unmapped status is only counted."""

_AGAIN = "\x1f"  # between a run's id and its occurrence; no run id that people see holds it

_OPEN = (Status.RUNNING, Status.RETRYING)


@dataclass(slots=True)
class Memory:
    """What detection remembers of one source; at least what the inputs at hand touch.

    `watched` holds the rows that were running or retrying when last read, by key.
    """

    runs: dict[RunKey, Run] = field(default_factory=dict)
    streaks: dict[str, Streak] = field(default_factory=dict)
    watched: dict[str, Status] = field(default_factory=dict)

    def after(self, detected: Detected) -> Memory:
        """The memory once `detected` is taken in."""
        runs = {key: run for key, run in {**self.runs, **detected.runs}.items() if key not in detected.forgotten}
        watched = {key: s for key, s in {**self.watched, **detected.watch}.items() if key not in detected.unwatch}
        return Memory(runs, {**self.streaks, **detected.streaks}, watched)


@dataclass(slots=True)
class Detected:
    """What a fold found and changed. `counts` are the source's books: read, success, failure, first_errors …"""

    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    runs: dict[RunKey, Run] = field(default_factory=dict)
    streaks: dict[str, Streak] = field(default_factory=dict)
    forgotten: set[RunKey] = field(default_factory=set)
    watch: dict[str, Status] = field(default_factory=dict)
    unwatch: set[str] = field(default_factory=set)
    set_aside: list[tuple[str, str]] = field(default_factory=list)  # (key, what was wrong)


def detect(memory: Memory, inputs: Iterable[Input], rules: Rules, origin: Origin) -> Detected:
    """Fold the inputs over the memory. `memory` is left as it was; the answer holds only what changed.

    A record that makes the fold raise is set aside, and the batch is folded again without it: it
    stops nothing and leaves no trace but its line in the books.
    """
    items, aside = list(inputs), dict[int, str]()
    while True:
        fold = _Fold(memory, rules, origin)
        for index, item in enumerate(items):
            try:
                fold.step(item, aside.get(index))
            except Exception as error:
                if not isinstance(item, Record) or index in aside:
                    raise
                aside[index] = f"{type(error).__name__}: {error}"
                break
        else:
            return fold.detected


def schedule_of(record: Record) -> str:
    """What fails in a row: the schedule id, or, where the log has none, (tenant, connector, entity type)."""
    if record.schedule_id is not None:
        return record.schedule_id
    return json.dumps((record.tenant_id, record.connector_id, record.entity_type), ensure_ascii=False)


def position_of(record: Record) -> Position:
    """Where the record stands in its schedule: no row counts as later than when it was read."""
    at = record.finished_at or record.occurred_at or record.started_at or record.read_at
    return Position(min(at, record.read_at), _sortable(record.key))


def run_of(record: Record, origin: Origin) -> str:
    """The run that a record belongs to: its run id, or itself where a row is a run."""
    return record.key if record.run_id is None or origin.rows == "runs" else record.run_id


def _sortable(key: str) -> str:
    return key.zfill(20) if key.isdigit() else key


def history_length(threshold: int) -> int:
    """How many of a schedule's newest run outcomes are kept: within them, every order of arrival counts the same."""
    return max(16, 2 * threshold)


class _Fold:
    """The working copy: whatever an input touches is copied once, then changed in place."""

    def __init__(self, memory: Memory, rules: Rules, origin: Origin) -> None:
        self.memory = memory
        self.rules = rules
        self.origin = origin
        self.detected = Detected()
        self.now: datetime
        self.schedules: dict[tuple[str | None, ...], str] = {}
        self.watching = len(memory.watched)
        self.open: dict[str, dict[str, RunKey]] = {}  # schedule → run id → key, of runs without an outcome yet
        for key, run in memory.runs.items():
            if run.state is RunState.OPEN:
                self.open.setdefault(run.schedule, {})[run.run_id] = key

    def step(self, item: Input, aside: str | None = None) -> None:
        """Take in one input; a record with a reason to be set aside is only counted."""
        if isinstance(item, Tick):
            self.now = item.now
            self._tick()
            return
        self.now = item.read_at
        if isinstance(item, Gone):
            self._gone(item)
            return
        if aside is not None:
            self._set_aside(item, aside)
            return
        what = classify(item, self.rules) if item.status is Status.FAILURE else None
        self._record(item, Status.IGNORED if item.status is Status.FAILURE and what is None else item.status, what)

    # -- records ---------------------------------------------------------------------------------

    def _record(self, record: Record, status: Status, what: Failure | None) -> None:
        if self._seen_before(record, status):
            return
        if status not in _OPEN:
            self._unstick((self._schedule(record), run_of(record, self.origin)), position_of(record).at)
        if status is Status.IGNORED or status is Status.UNMAPPED:
            self._end_without_a_word(record)
        elif status is Status.RUNNING or status is Status.RETRYING:
            self._running(record)
        elif self._is_whole_run(record):
            self._whole_run(record, status, what)
        else:
            self._part_of_run(record, status, what)

    def _seen_before(self, record: Record, status: Status) -> bool:
        """Keep the books of rows read and rows open; True if a watched row has nothing new to say."""
        counts, before = self.detected.counts, self._watched(record.key)
        if before is None:
            counts["read"] += 1
        elif _book(before) == _book(status):
            return True
        else:
            self._unwatch(record.key, before)
        if status in _OPEN or (status is Status.UNMAPPED and self._may_watch_unmapped(record)):
            self.watching += 1
            self.detected.watch[record.key] = status
            self.detected.unwatch.discard(record.key)
        counts[_book(status)] += 1
        return False

    def _watched(self, key: str) -> Status | None:
        """As what a row is watched; None where it is not."""
        found = self.detected
        return found.watch.get(key) or (None if key in found.unwatch else self.memory.watched.get(key))

    def _unwatch(self, key: str, before: Status) -> None:
        self.detected.counts[_book(before)] -= 1
        self.watching -= 1
        self.detected.watch.pop(key, None)
        self.detected.unwatch.add(key)

    def _may_watch_unmapped(self, record: Record) -> bool:
        """A row that is a run may yet become one that is understood; a log of nothing else is not worth it."""
        return self._is_whole_run(record) and self.watching < MOST_UNMAPPED

    def _gone(self, gone: Gone) -> None:
        """The row was deleted while it ran: its run is forgotten."""
        before = self._watched(gone.key)
        if before is None:
            return
        self._unwatch(gone.key, before)
        self.detected.counts[Status.IGNORED.value] += 1
        for key in self._runs_of_row(gone.key):
            self._unstick(key, gone.read_at)
            self._close(self._must_peek(key))
            self.detected.runs.pop(key, None)
            self.detected.forgotten.add(key)

    def _runs_of_row(self, key: str) -> list[RunKey]:
        """The open run that the row is by itself; not one that only has the row's key for its id."""
        found = [runs[key] for runs in self.open.values() if key in runs]
        return [run for run in found if self._must_peek(run).end.key == _sortable(key)]

    def _is_whole_run(self, record: Record) -> bool:
        return self.origin.rows == "runs" or record.run_id is None

    def _end_without_a_word(self, record: Record) -> None:
        """A row that is a run, and did not fail, is forgotten; unless it failed before, and may do so again."""
        key = (self._schedule(record), run_of(record, self.origin))
        run = self._peek(key)
        if run is None or not self._is_whole_run(record):
            return
        if run.state is RunState.FAILED:
            _leave_failure(self._copy(key))
        elif run.state is RunState.OPEN:
            self._close(run)
            if run.occurrence:
                self._copy(key).state = RunState.SUCCEEDED
                return
            self.detected.runs.pop(key, None)
            self.detected.forgotten.add(key)

    def _running(self, record: Record) -> None:
        run = self._run(record)
        if self._is_whole_run(record):
            self._reopen(run, record)
        self._touch(run, record)
        self._place(run, record)

    def _reopen(self, run: Run, record: Record) -> None:
        if run.state is RunState.FAILED:
            _leave_failure(run)
        if run.state is not RunState.OPEN:
            run.start = position_of(record)
        run.state = RunState.OPEN
        self.open.setdefault(run.schedule, {})[run.run_id] = (run.schedule, run.run_id)

    def _whole_run(self, record: Record, status: Status, what: Failure | None) -> None:
        """A row that is one run: its status decides at once, and for good."""
        key = (self._schedule(record), run_of(record, self.origin))
        known = self._peek(key)
        if what is None:
            if known:
                self._end_without_a_word(record)
            if status is Status.SUCCESS:
                position = position_of(record)
                self._outcome(self._streak(record, key[0]), RunOutcome(position, key[1], failed=False), final=True)
            return
        run = self._run(record)
        if run.state is RunState.FAILED and what.event_type.value in run.told:
            self.detected.counts["counted"] += 1  # the same row, read again
            return
        self._fail(run, record, what)

    def _part_of_run(self, record: Record, status: Status, what: Failure | None) -> None:
        """One of the records that share a run id."""
        run = self._run(record)
        self._touch(run, record)
        if what is not None:
            self._fail(run, record, what)
            return
        if status is Status.SUCCESS:
            run.neutral = False
        self._place(run, record)

    def _place(self, run: Run, record: Record) -> None:
        """A run that has its outcome already stands where its last record does."""
        if run.state is not RunState.OPEN and not run.neutral:
            self._outcome(self._streak(record, run.schedule), self._outcome_of(run), final=False)

    def _fail(self, run: Run, record: Record, what: Failure) -> None:
        """The run failed: its first error of each type is an event, later ones are counted into it."""
        first = run.state is not RunState.FAILED
        self._close(run)
        run.state, run.neutral = RunState.FAILED, False
        run.end = max(run.end, position_of(record))
        run.failures += 1
        streak = self._streak(record, run.schedule)
        if what.event_type.value in run.told:
            self.detected.counts["counted"] += 1
        else:
            run.told = (*run.told, what.event_type.value)
            self.detected.counts["first_errors"] += 1
            self._found_failure(run, streak, record, what)
        self._outcome(streak, self._outcome_of(run), final=False, first_failure=first)

    def _found_failure(self, run: Run, streak: Streak, record: Record, what: Failure) -> None:
        success = _newest_success(o for o in streak.outcomes if o.run_id != _execution(run))
        counts = success is None or run.end > success
        at = position_of(record).at
        event = describe.failure(record, what, at, run, self.origin, self.rules)
        condition = streak.announced if counts else None
        self.detected.findings.append(Finding(event, run.schedule, record.key, condition))

    # -- runs ------------------------------------------------------------------------------------

    def _touch(self, run: Run, record: Record) -> None:
        """Stretch the run over the record, and end the runs that began before the newest one."""
        position, began = position_of(record), run.start
        run.start, run.end = min(run.start, position), max(run.end, position)
        run.last_read_at = max(run.last_read_at, record.read_at)
        streak = self.detected.streaks.get(run.schedule) or self.memory.streaks.get(run.schedule)
        newest = streak.newest_start if streak else None
        # Where this run is the newest, and began earlier than was known, it is not its own successor.
        if newest is None or run.start > newest or began == newest != run.start:
            self._streak(record, run.schedule).newest_start = newest = run.start
        if self.origin.rows == "records":
            self._end_before(run.schedule, newest)

    def _end_before(self, schedule: str, newest: Position) -> None:
        for run_id in [r for r, key in self.open.get(schedule, {}).items() if self._must_peek(key).start < newest]:
            self._end(self._copy((schedule, run_id)))

    def _end(self, run: Run) -> None:
        """Provisionally a success: nothing of it failed so far."""
        self._close(run)
        run.state = RunState.SUCCEEDED
        if not run.neutral:
            self._outcome(self._streak_of(run.schedule), self._outcome_of(run), final=False)

    def _close(self, run: Run) -> None:
        self.open.get(run.schedule, {}).pop(run.run_id, None)

    def _outcome_of(self, run: Run) -> RunOutcome:
        return RunOutcome(run.end, _execution(run), failed=run.state is RunState.FAILED)

    def _stuck(self, run: Run) -> None:
        """The run has been running for too long: told once, and closed when it ends, however it ends."""
        event = describe.stuck_run(run, self._streak_of(run.schedule), self.now, self.origin, self.rules)
        run.stuck = event.id
        self.detected.findings.append(Finding(event, run.schedule, run.run_id, event.id))

    def _unstick(self, key: RunKey, at: datetime) -> None:
        run = self._peek(key)
        if run is None or run.stuck is None:
            return
        run = self._copy(key)
        event = describe.stuck_no_more(run, self._streak_of(run.schedule), at, self.origin)
        self.detected.findings.append(Finding(event, run.schedule, run.run_id, run.stuck))
        run.stuck, run.occurrence = None, run.occurrence + 1  # should the row run again, it may be stuck again

    # -- streaks ---------------------------------------------------------------------------------

    def _outcome(self, streak: Streak, outcome: RunOutcome, *, final: bool, first_failure: bool = False) -> None:
        """Put a run's outcome in its place among the newest of its schedule, and see what that means."""
        kept = [o for o in streak.outcomes if o.run_id != outcome.run_id]
        success = _newest_success(kept)
        if final and not outcome.failed:
            # Nothing takes a final success back, so what stands before it is history.
            kept = [o for o in kept if o.position > outcome.position]
        insort(kept, outcome)
        streak.outcomes = tuple(kept[-history_length(self.rules.threshold) :])
        if streak.announced is None:
            self._announce_if_due(streak, outcome)
        else:
            self._continue(
                streak, outcome, first_failure=first_failure and (success is None or outcome.position > success)
            )

    def _announce_if_due(self, streak: Streak, outcome: RunOutcome) -> None:
        failures = _failures_in_a_row(streak)
        if len(failures) < self.rules.threshold:
            return
        streak.failed_runs = len(failures)
        streak.since = failures[0].position.at
        streak.reminders = 0
        event = describe.announcement(
            streak, outcome.run_id.partition(_AGAIN)[0], failures[-1].position.at, self.origin, self.rules
        )
        streak.announced, streak.announced_at = event.id, event.timestamp
        self._told(streak)
        self.detected.findings.append(Finding(event, streak.schedule, None, event.id))

    def _continue(self, streak: Streak, outcome: RunOutcome, *, first_failure: bool) -> None:
        """An announced streak only grows, until a success stands after its last failure."""
        if first_failure:
            streak.failed_runs += 1
            streak.failed_since_told = True
        if not _failures_in_a_row(streak):
            self._recover(streak, outcome)

    def _recover(self, streak: Streak, outcome: RunOutcome) -> None:
        event = describe.recovery(streak, outcome.run_id.partition(_AGAIN)[0], outcome.position.at, self.origin)
        self.detected.findings.append(Finding(event, streak.schedule, None, streak.announced))
        success = _newest_success(streak.outcomes)
        streak.outcomes = tuple(o for o in streak.outcomes if success is not None and o.position >= success)
        streak.number += 1
        streak.announced = streak.announced_at = streak.since = streak.remind_at = None
        streak.failed_runs = streak.reminders = 0
        streak.failed_since_told = False

    def _told(self, streak: Streak) -> None:
        streak.failed_since_told = False
        streak.remind_at = self.now + self.rules.remind_every if self.rules.remind_every else None

    # -- time ------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self.origin.rows == "records":
            for run in sorted(self._quiet_runs(), key=lambda run: (run.end, run.schedule)):
                self._end(self._copy((run.schedule, run.run_id)))
        for run in sorted(self._stuck_runs(), key=lambda run: (run.start, run.schedule)):
            self._stuck(self._copy((run.schedule, run.run_id)))
        for schedule in sorted(self._reminders_due()):
            self._remind(self._streak_of(schedule))

    def _quiet_runs(self) -> Iterator[Run]:
        for run in (self._must_peek(key) for runs in self.open.values() for key in runs.values()):
            if self.now - run.last_read_at >= self.origin.run_ends_after:
                yield run

    def _stuck_runs(self) -> Iterator[Run]:
        """Where a row is a run, an open run is a row that says running."""
        after = self.origin.stuck_after
        if after is None or self.origin.rows != "runs":
            return
        for run in (self._must_peek(key) for runs in self.open.values() for key in runs.values()):
            if run.stuck is None and self.now - run.start.at >= after:
                yield run

    def _reminders_due(self) -> Iterator[str]:
        for schedule, streak in {**self.memory.streaks, **self.detected.streaks}.items():
            if streak.announced and streak.failed_since_told and streak.remind_at and streak.remind_at <= self.now:
                yield schedule

    def _remind(self, streak: Streak) -> None:
        streak.reminders += 1
        event = describe.announcement(streak, "", self.now, self.origin, self.rules)
        self._told(streak)
        self.detected.findings.append(Finding(event, streak.schedule, None, streak.announced))

    # -- memory ----------------------------------------------------------------------------------

    def _schedule(self, record: Record) -> str:
        parts = (record.schedule_id, record.tenant_id, record.connector_id, record.entity_type)
        schedule = self.schedules.get(parts)
        if schedule is None:
            schedule = self.schedules[parts] = schedule_of(record)
        return schedule

    def _peek(self, key: RunKey) -> Run | None:
        """The run as it stands, not to be changed."""
        if key in self.detected.forgotten:
            return None
        return self.detected.runs.get(key) or self.memory.runs.get(key)

    def _must_peek(self, key: RunKey) -> Run:
        run = self._peek(key)
        if run is None:
            raise LookupError(key)
        return run

    def _copy(self, key: RunKey) -> Run:
        """The run, to be changed."""
        run = self.detected.runs.get(key)
        if run is None:
            run = self.detected.runs[key] = copy.copy(self._must_peek(key))
        return run

    def _run(self, record: Record) -> Run:
        key = (self._schedule(record), run_of(record, self.origin))
        if self._peek(key):
            return self._copy(key)
        position = position_of(record)
        run = self.detected.runs[key] = Run(*key, start=position, end=position, last_read_at=record.read_at)
        self.detected.forgotten.discard(key)
        self.open.setdefault(run.schedule, {})[run.run_id] = key
        return run

    def _streak(self, record: Record, schedule: str) -> Streak:
        streak = self._streak_of(schedule)
        streak.connector_id, streak.entity_type = record.connector_id, record.entity_type
        streak.tenant_id, streak.schedule_id = record.tenant_id, record.schedule_id
        return streak

    def _streak_of(self, schedule: str) -> Streak:
        streak = self.detected.streaks.get(schedule)
        if streak is None:
            known = self.memory.streaks.get(schedule)
            streak = self.detected.streaks[schedule] = copy.copy(known) if known else Streak(schedule)
        return streak

    def _set_aside(self, record: Record, why: str) -> None:
        before = self._watched(record.key)
        if before is None:
            self.detected.counts["read"] += 1
        else:
            self._unwatch(record.key, before)
        self.detected.counts["set_aside"] += 1
        self.detected.set_aside.append((record.key, why))


def _execution(run: Run) -> str:
    """What an outcome is called: a row that is run again, and fails again, counts once more."""
    return f"{run.run_id}{_AGAIN}{run.occurrence}" if run.occurrence else run.run_id


def _book(status: Status) -> str:
    """Under what a row of this status is counted."""
    return "open" if status in _OPEN else status.value


def _leave_failure(run: Run) -> None:
    """The row left a terminal state: should it fail again, that is a new occurrence."""
    run.state, run.told, run.occurrence = RunState.SUCCEEDED, (), run.occurrence + 1


def _newest_success(outcomes: Iterable[RunOutcome]) -> Position | None:
    return max((o.position for o in outcomes if not o.failed), default=None)


def _failures_in_a_row(streak: Streak) -> list[RunOutcome]:
    success = _newest_success(streak.outcomes)
    return [o for o in streak.outcomes if o.failed and (success is None or o.position > success)]
