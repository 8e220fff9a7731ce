"""Small sync logs for the tests of core and store: rows by hand, logs drawn by Hypothesis, and their fold."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from notifyd.core.detect import Gone, Input, Tick, detect
from notifyd.core.memory import Detected, Memory
from notifyd.core.rules import Origin, Rules
from notifyd.model import Event, EventType, Finding, Record, Status
from tests.examples import examples

LAW = settings(derandomize=True, database=None, deadline=None, max_examples=examples(200))
"""How every law is tried: the same examples at each run; fewer of them where it is not CI (tests/examples.py)."""

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
NAIVE = datetime(2026, 11, 24, 12)  # noqa: DTZ001 (a row with such a time is poison to the fold)

RECORDS = Origin("shop", "shop-db")
RUNS = Origin("shop", "shop-db", rows="runs")
STUCK = Origin(
    "shop",
    "shop-db",
    rows="runs",
    stuck_after=timedelta(minutes=20),
    rewatch=timedelta(minutes=60),
    forget_after=timedelta(minutes=120),
)
RULES = Rules()
PATIENT = Rules(threshold=100)


def at(minutes: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def row(
    key: str | int, status: str = "success", minute: float = 0, *, read: float | None = None, **values: Any
) -> Record:
    """A row of the log that occurred at a minute, and was read then or at the minute `read`."""
    given: dict[str, Any] = {
        "run_id": None,
        "schedule_id": "nightly",
        "connector_id": "woo",
        "entity_type": "orders",
        "tenant_id": None,
        "error_type": None,
        "error_code": None,
        "message": "order 7 is not complete" if status == "failure" else None,
        "occurred_at": at(minute),
        "started_at": None,
        "finished_at": None,
        "heartbeat_at": None,
        "details": {},
        "read_at": at(minute if read is None else read),
    }
    return Record(key=str(key), status=Status(status), **{**given, **values})


def tick(minute: float) -> Tick:
    """Time alone, at a minute."""
    return Tick(at(minute))


@dataclass
class Told:
    """What folding a whole log came to."""

    memory: Memory = field(default_factory=Memory)
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    set_aside: list[tuple[str, str]] = field(default_factory=list)

    @property
    def events(self) -> list[Event]:
        return [finding.event for finding in self.findings]

    @property
    def watched(self) -> dict[str, Status]:
        """The rows that are watched until they end, and as what."""
        return {key: watch.status for key, watch in self.memory.watched.items() if not watch.ended}

    @property
    def types(self) -> list[str]:
        """The event types, in the order in which they were found."""
        return [event.event_type.value for event in self.events]

    def take(self, detected: Detected) -> None:
        self.memory = self.memory.after(detected)
        self.findings += detected.findings
        self.counts.update(detected.counts)
        self.set_aside += detected.set_aside

    def of(self, event_type: EventType) -> list[Event]:
        return [event for event in self.events if event.event_type is event_type]

    def failures_in_a_row(self, schedule: str = "nightly") -> int:
        """The count of a streak that was not announced."""
        streak = self.memory.streaks.get(schedule)
        outcomes = streak.outcomes if streak else ()
        success = max((outcome.position for outcome in outcomes if not outcome.failed), default=None)
        return sum(o.failed and (success is None or o.position > success) for o in outcomes)


def fold(*inputs: Input, rules: Rules = RULES, origin: Origin = RECORDS) -> Told:
    """Fold one batch, from nothing."""
    return fold_batches([inputs], rules, origin)


def fold_batches(batches: Iterable[Sequence[Input]], rules: Rules, origin: Origin) -> Told:
    """Fold batch after batch, each on the memory that the ones before it left."""
    told = Told()
    for batch in batches:
        told.take(detect(told.memory, batch, rules, origin))
    return told


# -- drawn logs ----------------------------------------------------------------------------------

MESSAGES = (
    "order 7 is not complete",
    "500: QuickBooks rate limit exceeded",
    "connection refused",
    "Sync already running for tenant T connector C",
)
SCHEDULES = ("nightly", "hourly")
STRANGE = (*[()] * 6, datetime(2099, 1, 1, tzinfo=UTC), None, NAIVE)
BEATS = (None, None, 5, 15, 30, 60)

shapes = st.tuples(
    st.sampled_from([*Status, Status.SUCCESS, Status.FAILURE, Status.FAILURE]),
    st.sampled_from(["a", "b", "c", None]),
    st.sampled_from(["nightly"] * 4 + ["hourly"]),
    st.integers(0, 9),
    st.sampled_from(MESSAGES),
    st.sampled_from(BEATS),
    st.sampled_from(STRANGE),
)
"""What a row is: its status, run, schedule, minute, text and heartbeat, and what is strange about its time."""


def shaped(number: int, read: float, shape: tuple[Any, ...]) -> Record:
    """The row of a shape, as it was read at a minute."""
    status, run_id, schedule_id, minute, message, beat, strange = shape
    record = row(number, status, minute, read=read, run_id=run_id, schedule_id=schedule_id)
    record = record._replace(heartbeat_at=None if beat is None else at(beat))
    record = record._replace(message=message if status is Status.FAILURE else None)
    return record if strange == () else record._replace(occurred_at=strange)


def logs(size: int = 10) -> st.SearchStrategy[list[Record]]:
    """Some rows that were all read at one time, no key twice: their order is the order of arrival alone."""
    good = shapes.filter(lambda shape: shape[-1] is not NAIVE)
    return st.lists(good, max_size=size).map(lambda drawn: [shaped(n, 90, shape) for n, shape in enumerate(drawn)])


def inputs(size: int = 12) -> st.SearchStrategy[list[Input]]:
    """Rows, poisoned ones too, and ticks, as time goes on; a row may come again, as it is by then, or be deleted."""
    kinds = st.sampled_from([(Record, None)] * 3 + [(Tick, None), (Record, 0), (Record, 1), (Gone, 0)])
    return st.lists(st.tuples(kinds, st.sampled_from([0, 1, 15]), shapes), max_size=size).map(_as_time_goes_on)


def _as_time_goes_on(drawn: list[Any]) -> list[Input]:
    items: list[Input] = []
    seen: list[Record] = []
    minute = 10
    for (kind, again), passed, shape in drawn:
        minute += passed
        if kind is Tick:
            items.append(tick(minute))
            continue
        if kind is Gone and seen:
            items.append(Gone(seen[-1].key, at(minute)))
            continue
        record = shaped(len(seen), minute, shape)
        if again is not None and again < len(seen):
            record = seen[-1 - again]._replace(status=record.status, read_at=at(minute))
        seen.append(record)
        items.append(record)
    return items


def cut(items: Sequence[Input], edges: Iterable[int]) -> list[Sequence[Input]]:
    """The inputs in batches, cut at the edges."""
    places = [0, *sorted(edge % (len(items) + 1) for edge in edges), len(items)]
    return [items[start:end] for start, end in itertools.pairwise(places)]


edges = st.sets(st.integers(0, 20), max_size=5)
