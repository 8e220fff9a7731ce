"""What the two loops ask of the state DB is found by an index, however much lies there."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from itertools import pairwise

import pytest

from notifyd.core.detect import Gone, detect
from notifyd.core.memory import Detected, Memory
from notifyd.core.rules import Origin, Rules
from notifyd.model import Hold
from notifyd.store import late, memory, outbox, retention
from notifyd.store.database import Database
from tests.core.findings import announcement, finding, recovery
from tests.core.logs import RECORDS, RUNS, STUCK, at, row
from tests.store.state import DEV, OPS, SOURCE, State

HELD = "USING INDEX verdicts_held"  # it holds nothing but what is held now

SMALL = {"cursors", "counts", "notification_configs", "windows"}
"""Tables that hold a row for each thing that is configured, not for each that happens."""


def scans(db: Database, work: Callable[[], object]) -> set[str]:
    """The statements of some work that walk through a whole table."""
    connection: sqlite3.Connection = db.peewee.connection()
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    try:
        work()
    finally:
        connection.set_trace_callback(None)
    asked = {text for text in statements if re.match("SELECT|UPDATE|DELETE|INSERT OR REPLACE", text)}
    assert asked
    return {text for text in asked if walks(plan_of(db, text))}


def plan_of(db: Database, statement: str) -> list[str]:
    return [row[3] for row in db.run(f"EXPLAIN QUERY PLAN {statement}")]


def walks(plan: list[str]) -> bool:
    """Whether a query plan walks through a table that grows, or compares each of its rows with each given key."""
    pairs = pairwise(plan)  # a list of keys to compare with is made once
    first = ("LIST SUBQUERY", "VIRTUAL TABLE")  # keys within keys, too
    keys_come_late = any("VIRTUAL TABLE" in step and not any(map(before.__contains__, first)) for before, step in pairs)
    return keys_come_late or any(map(scanned, plan))


def scanned(step: str) -> bool:
    """Whether a step walks through a table that grows. A list of keys that was given is none."""
    found = re.match(r"SCAN (\S+)", step)
    allowed = any(text in step for text in ("VIRTUAL TABLE", "CONSTANT ROW", "SCAN (subquery", HELD))
    return found is not None and not allowed and found[1] not in SMALL


def test_a_scan_is_seen(db: Database) -> None:
    assert scans(db, lambda: db.run("SELECT * FROM events WHERE title = 'x'"))
    assert scans(db, lambda: db.run("SELECT * FROM runs r JOIN json_each('[1]') k ON r.neutral = k.value"))
    late = "SELECT * FROM runs r CROSS JOIN json_each('[1]') k ON r.run_id = k.value WHERE r.source_id = 's'"
    assert scans(db, lambda: db.run(late))
    assert not scans(db, lambda: db.run("SELECT * FROM events WHERE id = 'x'"))


@pytest.mark.parametrize("origin", [RECORDS, STUCK], ids=["records", "runs"])
def test_loading_and_keeping_memory(state: State, origin: Origin) -> None:
    log = [*(row(n, "failure", n, run_id=f"r{n}") for n in range(3)), row("w", "running", 3)]

    def poll() -> None:
        known = memory.load(state.db, SOURCE, log, at(60), origin, ["gone"])
        state.commit(detect(known, [Gone("gone", at(60)), *log], Rules(), origin))
        ended = [log[-1]._replace(status=log[0].status)]
        state.commit(detect(memory.load(state.db, SOURCE, ended, None, origin), ended, Rules(), origin))

    assert scans(state.db, poll) == set()


def test_planning_and_keeping_what_was_found(db: Database) -> None:
    state = State(db, [OPS, DEV])
    hold = {("held", "ops"): Hold(at(60), "night")}

    def found() -> None:
        state.tell(finding("1"), finding("2"), announcement(), finding("held", connector_id="qb"), verdicts=hold)
        state.tell(finding("3", condition="streak"), recovery())

    assert scans(db, found) == set()


def test_claiming_and_settling(db: Database) -> None:
    state = State(db, [OPS, DEV])

    def send() -> None:
        state.tell(finding("1"), finding("2"), announcement(), verdicts={("1", "ops"): Hold(at(60), "night")})
        state.fail(state.turn())
        state.tell(recovery())
        state.later(61)
        state.settle(state.turn())
        state.later(2)
        state.turn()
        _ = state.next_due

    assert scans(db, send) == set()


def test_looking_for_what_expired_untold(state: State) -> None:
    assert scans(state.db, lambda: late.unsaid(state.db)) == set()


def test_taking_up_cancelling_and_queueing_again(state: State) -> None:
    state.tell(finding("1"), finding("2"))
    ids = state.ids

    def mend() -> None:
        state.turn()
        outbox.take_up(state.db, state.now, all_leases=True)
        outbox.take_up(state.db, state.now, all_leases=False)
        outbox.cancel(state.db, "ops", "its config was disabled", state.now)
        outbox.requeue(state.db, ids, state.now)
        outbox.enqueue_test(state.db, "ops", "ops", state.now)

    assert scans(state.db, mend) == set()


def test_pruning_looks_only_at_what_is_old(state: State) -> None:
    """Streaks are looked through once: there is one for each schedule."""
    state.commit(detect(Memory(), [row(n, "failure", n) for n in range(4)], Rules(), RUNS))
    state.send()

    def prune() -> None:
        retention.prune(state.db, at(60 * 24 * 365), at(1) - at(0), at(1) - at(0))

    assert all("FROM streaks WHERE" in statement for statement in scans(state.db, prune))


def test_a_streak_of_many_failures_is_looked_up_as_fast_as_one_of_few(state: State) -> None:
    """Its folded failures belong to its condition too; they are not walked through at each further one."""
    state.tell(announcement())
    state.tell(*(finding(str(n), condition="streak") for n in range(3000)))
    connection, steps = state.db.peewee.connection(), [0]

    def step() -> int:
        steps[0] += 1
        return 0

    connection.set_progress_handler(step, 100)
    state.commit(Detected(findings=[finding("one more", condition="streak")]))
    connection.set_progress_handler(None, 0)
    assert steps[0] < 50  # hundreds of instructions of SQLite's machine
