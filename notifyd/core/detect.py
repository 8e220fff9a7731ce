"""Detection: a fold over records and ticks.

    detect(memory, [Record | Past | Gone | Tick …]) → Detected(what changed in memory, findings, counts)

First law: for a fixed sequence of inputs, cutting it into batches anywhere changes nothing.
Second law: a Tick given twice changes nothing. Third law: before a streak is announced, the order
in which its runs arrive changes no count.

A record belongs to a run (`runs`), a run to a schedule, and a schedule has one streak (`streaks`). A row that runs,
or has just ended, is looked up again (`watching`), and the same state read again counts nothing. In a record-level
log a success is provisional: it is taken back when a late record of the same run fails.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from notifyd.core import describe
from notifyd.core.classify import Failure, classify
from notifyd.core.memory import Detected, Memory, RunKey
from notifyd.core.rules import Origin, Rules
from notifyd.core.runs import Runs, leave_failure, outcome_name, outcome_of, position_of
from notifyd.core.streaks import Streaks, newest_success
from notifyd.core.watching import MOST_OPEN, MOST_SILENT, OPEN, SILENT, Watching
from notifyd.model import Finding, Position, Record, Run, RunOutcome, RunState, Status, Streak, Watch


class Tick(NamedTuple):
    """Time alone: given only after a poll that read to the end of the log, never between catch-up batches."""

    now: datetime


class Gone(NamedTuple):
    """A watched row that is in the log no more: it ended without a word."""

    key: str
    read_at: datetime


class Past(NamedTuple):
    """A row that had ended when reading began: it is watched, in case it is run again, and counts as nothing."""

    record: Record


GIVEN_UP: Final = (
    f"given up: so many rows are open in the log (more than {MOST_OPEN:,}, or {MOST_SILENT:,} with some that have been "
    f"for {SILENT.days} days) that the oldest are not looked at any more, and a failure of theirs is not told; "
    "end or delete the rows that nobody will ever run"
)
"""Why a row that is open is not watched any more."""

_SUCCESS: Final = Status.SUCCESS

Input = Record | Past | Gone | Tick


def detect(memory: Memory, inputs: Iterable[Input], rules: Rules, origin: Origin) -> Detected:
    """Fold the inputs over the memory. `memory` is left as it was; the answer holds only what changed.

    A record that makes the fold raise is set aside and leaves no trace but its line in the books. Half a change may be
    in a fold that raised, so the inputs are folded again in halves, down to that record; by the first law that
    comes to the same.
    """
    items = list(inputs)
    try:
        return _folded(memory, items, rules, origin)
    except Exception as error:
        if len(items) > 1:
            first = detect(memory, items[: len(items) // 2], rules, origin)
            return first.then(detect(memory.after(first), items[len(items) // 2 :], rules, origin))
        if not isinstance(items[0], Record):
            raise
        fold = Fold(memory, rules, origin)
        fold.set_aside(items[0], f"{type(error).__name__}: {error}")
        return fold.detected


def _folded(memory: Memory, items: Iterable[Input], rules: Rules, origin: Origin) -> Detected:
    fold = Fold(memory, rules, origin)
    plain_success, step = fold.plain_success, fold.step
    for item in items:
        if not (isinstance(item, Record) and item.status is _SUCCESS and plain_success(item)):
            step(item)
    fold.settle()
    return fold.detected


class Fold:
    """The working copy: whatever an input touches is copied once, then changed in place."""

    def __init__(self, memory: Memory, rules: Rules, origin: Origin) -> None:
        self.memory = memory
        self.rules = rules
        self.origin = origin
        self.detected = Detected()
        self.streaks = Streaks(memory, self.detected, rules, origin)
        self.watching = Watching(memory, self.detected)
        self.runs = Runs(memory, self.detected, origin)
        self.now: datetime
        self._successes = 0  # that are not counted yet
        self._newest: dict[str, tuple[Position, Record]] = {}  # schedule → its newest success, which is not kept yet
        self._forget_other_epochs()

    def step(self, item: Input) -> None:
        """Take in one input."""
        if self._newest:
            self._settle_successes()
        if isinstance(item, Tick):
            self.now = item.now
            self._tick()
            return
        if isinstance(item, Past):
            self._watch_ended(item.record, item.record.status, known=None)
            return
        self.now = item.read_at
        if isinstance(item, Gone):
            if watch := self.watching.of(item.key):
                self._leave(item.key, watch)
            return
        what = classify(item, self.rules) if item.status is Status.FAILURE else None
        self._record(item, Status.IGNORED if item.status is Status.FAILURE and what is None else item.status, what)

    # -- records ---------------------------------------------------------------------------------

    def _record(self, record: Record, status: Status, what: Failure | None) -> None:
        run = self.runs.key_of(record)
        known = self.watching.of(record.key)
        if known is not None and known.run_id is not None and (known.schedule, known.run_id) != run:
            self._leave(record.key, known)  # another row has its key now
            known = None
        if self._says_nothing_new(record, status, what, run, known):
            return
        self._count(record, status, known)
        if known is not None and known.ended:
            self._again(run)
        if status not in OPEN:
            self._unstick(run, position_of(record).at)
        if status is Status.IGNORED or status is Status.UNMAPPED:
            self._end_without_a_word(record)
        elif status is Status.RUNNING or status is Status.RETRYING:
            self._running(record)
        elif self.runs.is_whole(record):
            self._whole_run(record, status, what)
        else:
            self._part_of_run(record, status, what)

    def plain_success(self, record: Record) -> bool:
        """Nearly all that a log holds: a run that succeeded, of which nothing was known. False where it is no such row.

        It comes to what `step` comes to, in a fraction of the time: of the successes of a schedule that come in
        their order, the last one alone says where its streak stands.
        """
        origin = self.origin
        if origin.rows != "runs" and record.run_id is not None:
            return False
        run = self.runs.key_of(record)
        if run in self.detected.runs or run in self.memory.runs or self.watching.knows(record.key):
            return False
        schedule, read_at, position = run[0], record.read_at, position_of(record)
        newest = self._newest.get(schedule)
        if newest is None:
            if not self.streaks.is_plain(schedule, position):
                return False
        elif newest[0] > position or newest[1].read_at > read_at:
            return False
        self._newest[schedule] = position, record
        self._successes += 1
        self.now = read_at
        if origin.rewatch is not None and position.at + origin.rewatch > read_at:
            self.watching.add_later(record.key, record, self._watch_ended)
        return True

    def settle(self) -> None:
        """Do what was left for later, as most of it is overtaken by then."""
        self._settle_successes()
        self.watching.settle()

    def _settle_successes(self) -> None:
        counts, newest = self.detected.counts, self._newest
        if self._successes:
            counts["read"] += self._successes
            counts["success"] += self._successes
            self._successes = 0
        for schedule, (position, record) in newest.items():
            outcome = RunOutcome(position, self.runs.key_of(record)[1], failed=False)
            self.streaks.succeeded(self.streaks.of_record(record, schedule), outcome)
        newest.clear()

    def _says_nothing_new(
        self, record: Record, status: Status, what: Failure | None, run: RunKey, known: Watch | None
    ) -> bool:
        """Whether the row was read in this state before; a run that goes on may have shown a sign of life."""
        if known is None:
            return what is not None and self.runs.is_whole(record) and self._told_before(run, what)
        if _book(known.status) != _book(status) or (known.ended and _ran_again(known, record)):
            return False
        if status in OPEN:
            self._beat(record, run)
        return True

    def _told_before(self, key: RunKey, what: Failure) -> bool:
        run = self.runs.peek(key)
        return (
            run is not None
            and run.state is RunState.FAILED
            and run.epoch == self.origin.epoch
            and what.event_type.value in run.told
        )

    def _count(self, record: Record, status: Status, known: Watch | None) -> None:
        """Keep the books of rows read and rows open, and watch what may change."""
        counts = self.detected.counts
        if known is not None:
            self.watching.drop(record.key, known)
        if known is None or known.ended:
            counts["read"] += 1
        else:
            counts[_book(known.status)] -= 1
        counts[_book(status)] += 1
        if status in OPEN:
            self.watching.add(record.key, self._watch(record, status))
            self._give_up_one_too_many()
        elif status is not Status.UNMAPPED:
            self._watch_ended(record, status, known)
        elif self.runs.is_whole(record) and self.watching.has_room:
            # It may yet become one that is understood.
            self.watching.add(record.key, self._watch(record, status))

    def _watch_ended(self, record: Record, status: Status, known: Watch | None) -> None:
        """Watch a row that has ended, for as long after its end as it may be run again."""
        if self.origin.rewatch is None or not self.runs.is_whole(record):
            return
        seen = record.read_at if known is not None and not known.ended else None
        end = record.finished_at or seen or record.occurred_at or record.started_at or record.read_at
        until = min(end, record.read_at) + self.origin.rewatch
        if until > record.read_at:
            self.watching.add(record.key, self._watch(record, status)._replace(until=until))

    def _watch(self, record: Record, status: Status) -> Watch:
        schedule, run_id = self.runs.key_of(record)
        return Watch(
            status,
            record.read_at,
            schedule,
            run_id,
            started=record.started_at,
            finished=record.finished_at,
            epoch=self.origin.epoch,
        )

    def _leave(self, key: str, watch: Watch, book: str = Status.IGNORED.value) -> None:
        """The row is not there any more, or is another one: what was open of it ended without a word."""
        self.watching.drop(key, watch)
        if watch.ended:
            return
        self.detected.counts[_book(watch.status)] -= 1
        self.detected.counts[book] += 1
        if watch.schedule is None or watch.run_id is None:
            return
        run = watch.schedule, watch.run_id
        known = self.runs.peek(run)
        if known is not None and known.state is RunState.OPEN and self.runs.is_row(watch.run_id):
            self._unstick(run, self.now)
            self.runs.forget(run)

    def _give_up_one_too_many(self) -> None:
        if one := self.watching.one_too_many(self.now):
            self._leave(*one, "set_aside")
            self.detected.set_aside.append((one[0], GIVEN_UP))

    def _forget_other_epochs(self) -> None:
        """Where the log began anew, keys come again: a row that ended is another row now."""
        for key, watch in self.memory.watched.items():
            if watch.ended and watch.epoch != self.origin.epoch:
                self.watching.drop(key, watch)

    def _end_without_a_word(self, record: Record) -> None:
        """A row that is a run, and did not fail, is forgotten; unless it failed before, and may do so again."""
        key = self.runs.key_of(record)
        run = self.runs.peek(key)
        if run is None or not self.runs.is_whole(record):
            return
        if run.state is RunState.FAILED:
            leave_failure(self.runs.copy(key))
        elif run.state is RunState.OPEN:
            self.runs.forget(key)

    def _running(self, record: Record) -> None:
        run = self.runs.of_record(record)
        if self.runs.is_whole(record):
            self.runs.reopen(run, record)
        if record.heartbeat_at is not None:
            run.beat = min(record.heartbeat_at, record.read_at)
        self._touch(run, record)
        self._place(run, record)

    def _again(self, key: RunKey) -> None:
        """A row that had ended was run again: should it fail once more, that is a new occurrence."""
        run = self.runs.peek(key)
        if run is not None and run.state is RunState.FAILED:
            leave_failure(self.runs.copy(key))

    def _whole_run(self, record: Record, status: Status, what: Failure | None) -> None:
        """A row that is one run: its status decides at once, and for good."""
        key = self.runs.key_of(record)
        if what is not None:
            self._fail(self.runs.of_record(record), record, what)
            return
        if self.runs.peek(key):
            self._end_without_a_word(record)
        if status is Status.SUCCESS:
            outcome = RunOutcome(position_of(record), key[1], failed=False)
            self.streaks.outcome(self.streaks.of_record(record, key[0]), outcome, self.now, final=True)

    def _part_of_run(self, record: Record, status: Status, what: Failure | None) -> None:
        """One of the records that share a run id."""
        run = self.runs.of_record(record)
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
            streak = self.streaks.of_record(record, run.schedule)
            self.streaks.outcome(streak, outcome_of(run), self.now, final=False)

    def _fail(self, run: Run, record: Record, what: Failure) -> None:
        """The run failed: its first error of each type is an event, later ones are counted into it."""
        first = run.state is not RunState.FAILED
        self.runs.close(run)
        run.state, run.neutral = RunState.FAILED, False
        run.end = max(run.end, position_of(record))
        run.failures += 1
        streak = self.streaks.of_record(record, run.schedule)
        self.streaks.failed(streak, record.message, position_of(record))
        if what.event_type.value in run.told:
            self.detected.counts["counted"] += 1
        else:
            run.told = (*run.told, what.event_type.value)
            self.detected.counts["first_errors"] += 1
            self._found_failure(run, streak, record, what)
        self.streaks.outcome(streak, outcome_of(run), self.now, final=False, first_failure=first)

    def _found_failure(self, run: Run, streak: Streak, record: Record, what: Failure) -> None:
        success = newest_success(o for o in streak.outcomes if o.run_id != outcome_name(run))
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
        streak = self.streaks.peek(run.schedule)
        newest = streak.newest_start if streak else None
        # Where this run is the newest, and began earlier than was known, it is not its own successor.
        if newest is None or run.start > newest or began == newest != run.start:
            self.streaks.of_record(record, run.schedule).newest_start = newest = run.start
        if self.origin.rows == "records":
            self._end_before(run.schedule, newest)

    def _end_before(self, schedule: str, newest: Position) -> None:
        for key in self.runs.open_of(schedule):
            if self.runs.known(key).start < newest:
                self._end(self.runs.copy(key))

    def _end(self, run: Run) -> None:
        """Provisionally a success: nothing of it failed so far."""
        self.runs.close(run)
        run.state = RunState.SUCCEEDED
        if not run.neutral:
            self.streaks.outcome(self.streaks.of(run.schedule), outcome_of(run), self.now, final=False)

    def _beat(self, record: Record, key: RunKey) -> None:
        """A sign of life of a run that goes on. It is kept twice in `stuck_after`, which is often enough to tell."""
        after, run = self.origin.stuck_after, self.runs.peek(key)
        if record.heartbeat_at is None or after is None or run is None or run.state is not RunState.OPEN:
            return
        beat = min(record.heartbeat_at, record.read_at)
        if beat <= run.last_sign or (run.stuck is None and record.read_at - run.last_sign < after / 2):
            return
        if record.read_at - beat < after:
            self._unstick(key, beat, alive=True)
        self.runs.copy(key).beat = beat

    def _stuck(self, run: Run) -> None:
        """The run has been running for too long: told once, and closed when it ends, however it ends."""
        event = describe.stuck_run(run, self.streaks.of(run.schedule), self.now, self.origin, self.rules)
        run.stuck = event.id
        self.detected.findings.append(Finding(event, run.schedule, run.run_id, event.id))

    def _unstick(self, key: RunKey, at: datetime, *, alive: bool = False) -> None:
        run = self.runs.peek(key)
        if run is None or run.stuck is None:
            return
        run = self.runs.copy(key)
        event = describe.stuck_no_more(run, self.streaks.of(run.schedule), at, self.origin, alive=alive)
        self.detected.findings.append(Finding(event, run.schedule, run.run_id, run.stuck))
        run.stuck, run.occurrence = None, run.occurrence + 1  # should the row run again, it may be stuck again

    # -- time ------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self.origin.rows == "records":
            for run in sorted(self.runs.quiet(self.now), key=lambda run: (run.end, run.schedule)):
                self._end(self.runs.copy((run.schedule, run.run_id)))
        for run in sorted(self.runs.stuck(self.now), key=lambda run: (run.start, run.schedule)):
            self._stuck(self.runs.copy((run.schedule, run.run_id)))
        self.streaks.remind(self.now)
        self.streaks.expire(self.now, self.runs.schedules_at_work())

    def set_aside(self, record: Record, why: str) -> None:
        """Only count a record, and say why."""
        before = self.watching.of(record.key)
        if before is None or before.ended:
            self.detected.counts["read"] += 1
        else:
            self.detected.counts[_book(before.status)] -= 1
        if before is not None:
            self.watching.drop(record.key, before)
        self.detected.counts["set_aside"] += 1
        self.detected.set_aside.append((record.key, why))


def _ran_again(known: Watch, record: Record) -> bool:
    """Whether the row, in the same state, says of itself that it began or ended at another time than it did."""
    times = (known.started, record.started_at), (known.finished, record.finished_at)
    return any(before is not None and after is not None and before != after for before, after in times)


def _book(status: Status) -> str:
    """Under what a row of this status is counted."""
    return "open" if status in OPEN else status.value
