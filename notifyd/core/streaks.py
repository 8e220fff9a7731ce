"""Failures in a row: what the outcomes of a schedule's runs come to.

A streak holds the newest run outcomes by position (time, then key), as rows arrive in any order, and is evaluated
anew when one of them changes. It is announced once, reminded of while failures go on, and recovers once.
"""

from __future__ import annotations

import copy
from bisect import insort
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from notifyd.core import describe
from notifyd.core.memory import Detected, Memory
from notifyd.core.rules import Origin, Rules
from notifyd.model import Finding, Position, Record, RunOutcome, Streak

AGAIN: Final = "\x1f"  # between a run's id and its occurrence; no run id that people see holds it
ALONE: Final = "\x1e"  # before the key of a row without a run id, where runs have ids: they are no names of each other


def history_length(threshold: int) -> int:
    """How many of a schedule's newest run outcomes are kept: within them, every order of arrival counts the same."""
    return max(16, 2 * threshold)


def shown_run(name: str) -> str:
    """The run id or key that people see, of a run or of an outcome."""
    return name.removeprefix(ALONE).partition(AGAIN)[0]


class Streaks:
    """The working copy of the streaks, while inputs are folded: whatever an input touches is copied once."""

    def __init__(self, memory: Memory, detected: Detected, rules: Rules, origin: Origin) -> None:
        self._known = memory.streaks
        self._found = detected
        self._rules = rules
        self._origin = origin
        self._length = history_length(rules.threshold)

    def peek(self, schedule: str) -> Streak | None:
        """The streak as it stands, not to be changed; None where nothing is known of the schedule."""
        if schedule in self._found.expired:
            return None
        return self._found.streaks.get(schedule) or self._known.get(schedule)

    def of(self, schedule: str) -> Streak:
        """The streak of a schedule, to be changed."""
        streak = self._found.streaks.get(schedule)
        if streak is None:
            known = self.peek(schedule)
            streak = self._found.streaks[schedule] = copy.copy(known) if known else Streak(schedule)
            self._found.expired.discard(schedule)
        return streak

    def of_record(self, record: Record, schedule: str) -> Streak:
        """The streak of a record's schedule, to be changed; it takes the record's names."""
        streak = self.of(schedule)
        streak.connector_id, streak.entity_type = record.connector_id, record.entity_type
        streak.tenant_id, streak.schedule_id = record.tenant_id, record.schedule_id
        if streak.touched is None or record.read_at > streak.touched:
            streak.touched = record.read_at
        return streak

    def failed(self, streak: Streak, message: str | None, position: Position) -> None:
        """Remember what a failing record said, if no failure is newer: whoever is told of the streak is told that."""
        if all(position >= o.position for o in streak.outcomes if o.failed):
            streak.last_error = describe.cut(message) if message else None

    def outcome(
        self, streak: Streak, outcome: RunOutcome, now: datetime, *, final: bool, first_failure: bool = False
    ) -> None:
        """Put a run's outcome in its place among the newest of its schedule, and see what that means."""
        kept = [o for o in streak.outcomes if o.run_id != outcome.run_id]
        success = newest_success(kept)
        if final and not outcome.failed:
            # Nothing takes a final success back, so what stands before it is history.
            kept = [o for o in kept if o.position > outcome.position]
        insort(kept, outcome)
        streak.outcomes = tuple(kept[-self._length :])
        if streak.announced is None:
            self._announce_if_due(streak, outcome, now)
        else:
            first = first_failure and (success is None or outcome.position > success)
            self._continue(streak, outcome, first_failure=first)

    def is_plain(self, schedule: str, position: Position) -> bool:
        """Whether a success there is the newest outcome, and nobody has to be told of it."""
        streak = self.peek(schedule)
        if streak is None:
            return True
        return streak.announced is None and (not streak.outcomes or streak.outcomes[-1].position <= position)

    def succeeded(self, streak: Streak, outcome: RunOutcome) -> None:
        """Put a plain success in its place: all that stands before it is history."""
        streak.outcomes, streak.last_error = (outcome,), None

    def remind(self, now: datetime) -> None:
        """Remind of the streaks that go on, where it is time."""
        for schedule in sorted(self._reminders_due(now)):
            streak = self.of(schedule)
            streak.reminders += 1
            event = describe.announcement(streak, "", now, self._origin, self._rules)
            self._told(streak, now)
            self._found.findings.append(Finding(event, schedule, None, streak.announced))

    def expire(self, now: datetime, running: Iterable[str]) -> None:
        """Forget what happened to schedules that have not run for so long; what was announced is closed.

        How many streaks there were is kept, as ids of later ones depend on it.
        """
        after, busy = self._origin.forget_after, set(running)
        if after is None:
            return
        for schedule in sorted({**self._known, **self._found.streaks}.keys() - busy):
            known = self.peek(schedule)
            if known and known.outcomes and known.touched and now - known.touched >= after:
                streak = self.of(schedule)
                if streak.announced:
                    event = describe.expired(streak, now, self._origin)
                    self._found.findings.append(Finding(event, schedule, None, streak.announced))
                    _close(streak)
                streak.outcomes, streak.newest_start, streak.last_error = (), None, None

    def _reminders_due(self, now: datetime) -> Iterator[str]:
        for schedule, streak in {**self._known, **self._found.streaks}.items():
            if streak.announced and streak.failed_since_told and streak.remind_at and streak.remind_at <= now:
                yield schedule

    def _announce_if_due(self, streak: Streak, outcome: RunOutcome, now: datetime) -> None:
        if not outcome.failed and len(streak.outcomes) == 1:
            streak.last_error = None
            return
        failures = failures_in_a_row(streak)
        if not failures:
            streak.last_error = None
        if len(failures) < self._rules.threshold:
            return
        streak.failed_runs = len(failures)
        streak.since = failures[0].position.at
        streak.reminders = 0
        run_id = shown_run(outcome.run_id)
        event = describe.announcement(streak, run_id, failures[-1].position.at, self._origin, self._rules)
        streak.announced, streak.announced_at = event.id, event.timestamp
        self._told(streak, now)
        self._found.findings.append(Finding(event, streak.schedule, None, event.id))

    def _continue(self, streak: Streak, outcome: RunOutcome, *, first_failure: bool) -> None:
        """An announced streak only grows, until a success stands after its last failure."""
        if first_failure:
            streak.failed_runs += 1
            streak.failed_since_told = True
        if not failures_in_a_row(streak):
            self._recover(streak, outcome)

    def _recover(self, streak: Streak, outcome: RunOutcome) -> None:
        event = describe.recovery(streak, shown_run(outcome.run_id), outcome.position.at, self._origin)
        self._found.findings.append(Finding(event, streak.schedule, None, streak.announced))
        success = newest_success(streak.outcomes)
        streak.outcomes = tuple(o for o in streak.outcomes if success is not None and o.position >= success)
        _close(streak)

    def _told(self, streak: Streak, now: datetime) -> None:
        streak.failed_since_told = False
        streak.remind_at = now + self._rules.remind_every if self._rules.remind_every else None


def _close(streak: Streak) -> None:
    """The next streak is another one."""
    streak.number += 1
    streak.announced = streak.announced_at = streak.since = streak.remind_at = streak.last_error = None
    streak.failed_runs = streak.reminders = 0
    streak.failed_since_told = False


def newest_success(outcomes: Iterable[RunOutcome]) -> Position | None:
    """Where the newest run that succeeded stands."""
    return max((o.position for o in outcomes if not o.failed), default=None)


def failures_in_a_row(streak: Streak) -> list[RunOutcome]:
    """The failed runs after the newest success, oldest first."""
    success = newest_success(streak.outcomes)
    return [o for o in streak.outcomes if o.failed and (success is None or o.position > success)]
