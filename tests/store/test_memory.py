"""Detection's memory in the state DB: what is kept comes back, and reading it costs what a batch touches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifyd.core.detect import Gone, Input, Tick, detect
from notifyd.core.memory import Detected, Memory
from notifyd.core.rules import Origin, Rules
from notifyd.model import Event, Position, Record, Run, RunOutcome, RunState, Status, Streak, Watch
from notifyd.store import books, memory
from notifyd.store.database import Database, open_database
from tests.core.logs import LAW, NOON, RECORDS, RUNS, STUCK, at, cut, edges, fold, inputs, row
from tests.examples import examples
from tests.store.state import SOURCE, State, emptied

THROUGH_THE_STORE = settings(LAW, max_examples=examples(300))  # each poll of each example is a transaction
QUICK = Rules(threshold=2, remind_every=timedelta(minutes=20))

names = st.text(st.characters(), min_size=1, max_size=6) | st.sampled_from(
    ['"', '"a"', "a\0b", "\ud800", "[null]", "ä"]
)
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
moments = st.datetimes(datetime(1000, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
positions = st.builds(Position, moments, names)
counts = st.integers(0, 2**31)
runs = st.builds(
    Run,
    schedule=names,
    run_id=names,
    start=positions,
    end=positions,
    last_read_at=moments,
    state=st.sampled_from(RunState),
    neutral=st.booleans(),
    failures=counts,
    told=st.lists(st.sampled_from(["sync_error", "rate_limit"]), unique=True).map(tuple),
    occurrence=counts,
    stuck=st.none() | st.just("evt_2"),
    beat=st.none() | moments,
    epoch=counts,
)
watches = st.builds(
    Watch,
    st.sampled_from(Status),
    moments,
    schedule=names,
    run_id=names,
    until=st.none() | st.just(datetime(9999, 1, 1, tzinfo=UTC)),
    started=st.none() | moments,
    finished=st.none() | moments,
    epoch=counts,
)
streaks = st.builds(
    Streak,
    schedule=names,
    outcomes=st.lists(st.builds(RunOutcome, positions, names, st.booleans()), max_size=4).map(tuple),
    newest_start=st.none() | positions,
    number=counts,
    announced=st.none() | st.just("evt_1"),
    announced_at=st.none() | moments,
    failed_runs=counts,
    since=st.none() | moments,
    failed_since_told=st.booleans(),
    reminders=counts,
    remind_at=st.none() | moments,
    connector_id=texts,
    entity_type=texts,
    tenant_id=texts,
    schedule_id=texts,
    touched=st.none() | moments,
    last_error=texts,
)


# -- what is kept comes back ---------------------------------------------------------------------


@LAW
@given(run=runs, streak=streaks, watched=st.dictionaries(names, watches))
def test_what_is_kept_comes_back_as_it_was(
    shared: Database, run: Run, streak: Streak, watched: dict[str, Watch]
) -> None:
    """Whatever is in a name: it has to be found again by the rows that follow."""
    record = row("1", run_id=run.run_id, schedule_id=run.schedule)
    detected = Detected(
        runs={(run.schedule, run.run_id): run},
        streaks={streak.schedule: streak},
        watch=watched,
    )
    emptied(shared)
    with shared.transaction():
        memory.save(shared, SOURCE, detected, NOON)
    known = memory.load(shared, SOURCE, [record, record._replace(schedule_id=streak.schedule)], None, RECORDS)
    assert known.runs == detected.runs
    assert known.streaks == detected.streaks
    assert known.watched == watched


def test_what_is_forgotten_is_gone(state: State) -> None:
    strange = row('"1\0', "running", schedule_id="night\ud800")
    state.commit(detect(Memory(), [strange], Rules(), RUNS))
    known = memory.load(state.db, SOURCE, [strange], None, RUNS)
    assert (len(known.runs), len(known.watched)) == (1, 1)
    state.commit(detect(known, [strange._replace(status=Status.SUCCESS, read_at=at(1))], Rules(), RUNS))
    known = memory.load(state.db, SOURCE, [strange], None, RUNS)
    assert (known.runs, known.watched) == ({}, {})
    state.check_books()


def test_a_running_row_that_was_deleted_is_forgotten(state: State) -> None:
    running = row("1", "running")
    state.commit(detect(Memory(), [running], Rules(), RUNS))
    gone = Gone("1", at(60))
    state.commit(detect(memory.load(state.db, SOURCE, [], None, RUNS, ["1"]), [gone], Rules(), RUNS))
    known = memory.load(state.db, SOURCE, [running], None, RUNS)
    assert (known.runs, known.watched) == ({}, {})
    assert books.read(state.db)[f"source:{SOURCE}"] == {"read": 1, "open": 0, "ignored": 1}
    state.check_books()


def test_sources_do_not_see_each_other_s_memory(state: State) -> None:
    failing = [row(str(n), "failure", n, run_id="A") for n in range(2)]
    state.commit(detect(Memory(), [*failing, row("r", "running")], Rules(), RECORDS))
    other = memory.load(state.db, "other-db", failing, at(99), RECORDS)
    assert other == Memory()


# -- the first law, through the store ------------------------------------------------------------


def through_the_store(
    db: Database, batches: Sequence[Sequence[Input]], origin: Origin, rules: Rules
) -> tuple[list[Event], Counter[str]]:
    """The events and the books, where each poll loads, detects and commits."""
    state = State(emptied(db))
    events: list[Event] = []
    for poll in (poll for batch in batches for poll in up_to_ticks(batch)):
        records = [item for item in poll if isinstance(item, Record)]
        gone = [item.key for item in poll if isinstance(item, Gone)]
        tick = next((item.now for item in poll if isinstance(item, Tick)), None)
        detected = detect(memory.load(db, SOURCE, records, tick, origin, gone), poll, rules, origin)
        state.commit(detected)
        events += [finding.event for finding in detected.findings]
    assert [(event.id,) for event in events] == db.run("SELECT id FROM events ORDER BY seq")
    state.check_books()
    book = Counter(books.read(db).get(f"source:{SOURCE}", {}))
    return events, Counter({what: count for what, count in book.items() if what not in ("events", "untold")})


def up_to_ticks(batch: Sequence[Input]) -> list[list[Input]]:
    """A poll gives rows and at most one tick, at its end."""
    polls: list[list[Input]] = [[]]
    for item in batch:
        polls[-1].append(item)
        if isinstance(item, Tick):
            polls.append([])
    return [poll for poll in polls if poll]


@pytest.mark.parametrize("origin", [RECORDS, STUCK], ids=["records", "runs"])
@THROUGH_THE_STORE
@given(items=inputs(), edges=edges)
def test_polls_of_any_size_come_to_the_same(
    shared: Database, origin: Origin, items: list[Input], edges: set[int]
) -> None:
    events, book = through_the_store(shared, cut(items, edges), origin, QUICK)
    whole = fold(*items, rules=QUICK, origin=origin)
    assert events == whole.events
    assert +book == +whole.counts


@THROUGH_THE_STORE
@given(names.filter(lambda name: name), names)
def test_also_where_the_names_are_strange(shared: Database, schedule: str, run: str) -> None:
    log = [row(n, "failure", n, run_id=f"{run}{n // 2}", schedule_id=schedule) for n in range(6)]
    events, book = through_the_store(shared, [[record] for record in log], RECORDS, QUICK)
    assert [event.event_type.value for event in events] == [
        "sync_error",
        "sync_error",
        "consecutive_failures",
        "sync_error",
    ]
    assert book == fold(*log, rules=QUICK).counts


def test_after_a_restart_the_streak_goes_on(tmp_path: Path) -> None:
    url, log = f"sqlite:///{tmp_path}/state.db", [row(n, "failure", n) for n in range(3)]
    told: list[str] = []
    for record in log:
        db = open_database(url, create=True)
        detected = detect(memory.load(db, SOURCE, [record], None, RUNS), [record], Rules(), RUNS)
        State(db).commit(detected)
        told += [finding.event.event_type.value for finding in detected.findings]
        db.close()
    assert told == ["sync_error", "sync_error", "sync_error", "consecutive_failures"]
