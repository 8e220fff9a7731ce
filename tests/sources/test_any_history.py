"""Any history of a log: a stateful model of writers, purges, restarts and clocks, against a simple oracle.

The oracle is a list: each row that was committed, and is not deleted before it could be read, is told once.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from notifyd.model import Record, Status
from tests.sources import servers
from tests.sources.logs import NOW
from tests.sources.servers import Server
from tests.sources.workload import OPEN, create, source_of

STATES = ("ok", "failed", "running")
JUMPS = (timedelta(seconds=1), timedelta(seconds=59), timedelta(hours=1), timedelta(hours=-1), timedelta(days=-2))


class History(RuleBasedStateMachine):
    """What happens to a log, and what its reader is told."""

    server: Server
    key = "id"
    more = ""
    together = 3  # transactions

    def __init__(self) -> None:
        super().__init__()
        self.now = self.latest = NOW
        self.open: list[tuple[Any, list[str]]] = []
        self.committed: set[str] = set()
        self.deleted: set[str] = set()
        self.ends: dict[str, Status] = {}
        self.watched: dict[str, str] = {}
        self.number = 0

    @initialize()
    def begin(self) -> None:
        self.server.run("DROP TABLE IF EXISTS jobs")
        create(self.server)
        self.source = source_of(self.server, Path(tempfile.mkdtemp()), self.key, self.more)
        self.cursor = self.source.start(self.now).cursor

    @precondition(lambda self: len(self.open) < self.together)
    @rule()
    def open_transaction(self) -> None:
        self.open.append((self.server.connect(), []))

    @precondition(lambda self: self.open)
    @rule(
        which=st.integers(0, 9), states=st.lists(st.sampled_from(["ok", "failed", "running"]), min_size=1, max_size=3)
    )
    def insert(self, which: int, states: list[str]) -> None:
        connection, names = self.open[which % len(self.open)]
        cursor = connection.cursor()
        for state in states:
            self.number += 1
            name = f"n{self.number:05}"
            sql = "INSERT INTO jobs (name, writer, state, changed) VALUES (%s, 'w', %s, %s)"
            cursor.execute(self.server.sql(sql), (name, state, self._writers_clock().strftime("%Y-%m-%d %H:%M:%S.%f")))
            names.append(name)

    @precondition(lambda self: len(self.open) < self.together - 1)
    @rule(states=st.lists(st.sampled_from(STATES), min_size=1, max_size=2), limit=st.sampled_from([1, 100]))
    def overtake(self, states: list[str], limit: int) -> None:
        """A transaction takes keys, and another one that began later ends first and is read."""
        self.open_transaction()
        self.insert(len(self.open) - 1, states)
        self.open_transaction()
        self.insert(len(self.open) - 1, states)
        self.end(len(self.open) - 1, keep=True)
        self.poll(limit)

    @precondition(lambda self: self._may_write() and self.committed - self.deleted)
    @rule(count=st.integers(1, 2), state=st.sampled_from(STATES))
    def replace_the_newest(self, count: int, state: str) -> None:
        """The newest rows are deleted, and as many come: SQLite gives them the same numbers."""
        for name in sorted(self.committed - self.deleted)[-count:]:
            self._run("DELETE FROM jobs WHERE name = %s", name)
            self.deleted.add(name)
        self.open_transaction()
        self.insert(len(self.open) - 1, [state] * count)
        self.end(len(self.open) - 1, keep=True)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 9), keep=st.sampled_from([True, True, False]))
    def end(self, which: int, keep: bool) -> None:
        connection, names = self.open.pop(which % len(self.open))
        if keep:
            connection.commit()
            self.committed |= set(names)
        else:
            connection.rollback()
        connection.close()

    @precondition(lambda self: self._may_write() and self.committed - self.deleted)
    @rule(which=st.integers(0, 99), state=st.sampled_from(["ok", "failed"]))
    def settle(self, which: int, state: str) -> None:
        """A running row ends."""
        name = self._one_of(which)
        self._run("UPDATE jobs SET state = %s WHERE name = %s AND state = 'running'", state, name)

    @precondition(lambda self: self._may_write() and self.committed - self.deleted)
    @rule(which=st.integers(0, 99))
    def delete(self, which: int) -> None:
        name = self._one_of(which)
        self._run("DELETE FROM jobs WHERE name = %s", name)
        self.deleted.add(name)

    @precondition(lambda self: self._may_write() and self.committed - self.deleted)
    @rule()
    def purge(self) -> None:
        """All but the newest row."""
        names = sorted(self.committed - self.deleted)[:-1]
        for name in names:
            self._run("DELETE FROM jobs WHERE name = %s", name)
        self.deleted |= set(names)

    @rule(jump=st.sampled_from(JUMPS))
    def pass_time(self, jump: timedelta) -> None:
        self.latest = max(self.latest, self.now)
        self.now = max(self.now + jump, self.latest - timedelta(days=2))

    @rule()
    def restart(self) -> None:
        self.source.close()

    @rule(limit=st.sampled_from([1, 2, 100]))
    def poll(self, limit: int) -> None:
        seen = self.source.look_up(list(self.watched), self.now) if self.watched else {}
        batch = self.source.read(self.cursor, self.now, limit)
        self.watched = {key: name for key, name in self.watched.items() if key in seen and seen[key].run_id == name}
        for record in (*seen.values(), *batch.records):
            self._take(record)
        self.cursor = batch.cursor

    @invariant()
    def nothing_is_told_twice_nor_what_never_was(self) -> None:
        assert self.ends.keys() <= self.committed

    def teardown(self) -> None:
        try:
            while self.open:
                self.end(0, keep=True)
            self._run("UPDATE jobs SET state = %s WHERE state = 'running'", "ok")
            for _ in range(3 + 2 * self.number):
                self.now += timedelta(seconds=60)
                self.poll(100)
            assert self.committed - self.deleted <= self.ends.keys(), "each row that is there was told"
            self.nothing_is_told_twice_nor_what_never_was()
        finally:
            for connection, _ in self.open:
                connection.close()
            self.source.close()

    def _may_write(self) -> bool:
        return self.server.kind != "sqlite" or not self.open

    def _writers_clock(self) -> datetime:
        """Where numbers come again, times alone tell an emptied log from a restored one: there, they do not go back."""
        return self.now if self.key == "name" else max(self.latest, self.now)

    def _one_of(self, which: int) -> str:
        names = sorted(self.committed - self.deleted)
        return names[which % len(names)]

    def _run(self, sql: str, *values: str) -> None:
        with closing(self.server.connect(autocommit=True)) as connection:
            connection.cursor().execute(self.server.sql(sql), values)

    def _take(self, record: Record) -> None:
        """Rows are told apart by their names, which never come again as keys may.

        The same state may come more than once (see `Batch`), which the fold counts once; another state may not, as
        nothing here is run again.
        """
        name = record.run_id or ""
        if record.status in OPEN:
            self.watched[record.key] = name
        else:
            self.watched.pop(record.key, None)
            assert self.ends.setdefault(name, record.status) is record.status, "a row ends once"


def _check(opened: Server, examples: int, **attributes: Any) -> None:
    machine = type("Machine", (History,), {"server": opened, **attributes})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=checks),
    )


@pytest.mark.parametrize("key", ["id", "name"])
def test_sqlite(key: str) -> None:
    """By an integer key that SQLite gives again, and by rowid beside a text key."""
    with servers.sqlite() as server:
        server.run("PRAGMA journal_mode = MEMORY")  # a few times as fast, and all that is told here is the same
        _check(server, 60, key=key, together=1)


def test_postgres(postgres: Server) -> None:
    _check(postgres, 25)
