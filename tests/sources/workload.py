"""A sync system with many writers at once, a reader beside it, and what the reader must have been told.

Writers take keys before they commit: transactions of random size and length, some of them long, some rolled
back; rows that are updated in place until they end, and rows that are deleted. The reader does what the poller
does, and starts anew from its cursor now and then. When all is quiet, each row that is there must have
been told exactly once, and what was rolled back never.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pymysql

from notifyd.model import Record, Status
from notifyd.settings import load
from notifyd.sources import Batch, Source, open_source
from tests.sources.servers import Server

OPEN = (Status.RUNNING, Status.RETRYING)

MAPPING = """
[[sources]]
name = "shop"
url = "{url}"
table = "jobs"
start = "beginning"
rows = "runs"
{more}
[sources.columns]
key = "{key}"
run_id = "name"
schedule_id = "writer"
status = "state"
message = "error"
updated_at = "changed"
[sources.statuses]
success = ["ok"]
failure = ["failed"]
running = ["running"]
retrying = ["again"]
"""


@dataclass(frozen=True)
class Load:
    """How much is written, and how. `long` is how many seconds a long transaction takes.

    With `outages` the server may go away: what was under way is given up, whatever came of it, and rows are not
    deleted, so that each that was ever read is there in the end.
    """

    seed: int
    rows: int
    writers: int = 8
    long: float = 1.0
    long_share: float = 0.02
    pause: float = 0.01
    outages: bool = False


LOST = (psycopg.Error, pymysql.Error, sqlite3.OperationalError)
"""What a writer is told when its server goes away."""


@dataclass
class Told:
    """What a reader was told of each row that came to its end, and what it did meanwhile."""

    ends: Counter[str] = field(default_factory=Counter)
    watched: dict[str, Status] = field(default_factory=dict)
    polls: int = 0
    restarts: int = 0
    largest_cursor: int = 0
    notes: list[str] = field(default_factory=list)


class Reads(Protocol):
    """What a reader needs of a source."""

    @property
    def sees_changes(self) -> bool: ...
    def start(self, now: datetime) -> Any: ...
    def read(self, cursor: str, now: datetime, limit: int) -> Batch: ...
    def look_up(self, keys: Sequence[str], now: datetime) -> dict[str, Record]: ...
    def close(self) -> None: ...


def create(server: Server) -> None:
    """The log."""
    server.run(
        f"CREATE TABLE jobs (id {server.key}, name varchar(40) NOT NULL, writer varchar(20), state varchar(20),"
        f" error text, changed {server.times})",
        "CREATE INDEX jobs_by_time ON jobs (changed)",
        "CREATE UNIQUE INDEX jobs_by_name ON jobs (name)",
    )


def source_of(server: Server, folder: Path, key: str = "id", more: str = "") -> Source:
    """A source that reads the log."""
    file = folder / "notifyd.toml"
    file.write_text(MAPPING.format(url=server.url, key=key, more=more))
    return open_source(load(file).sources[0])


_END = "UPDATE jobs SET state = %s, changed = %s WHERE name = %s AND state IN ('running', 'again')"


class Writer(threading.Thread):
    """One process of the sync system."""

    def __init__(self, server: Server, load: Load, number: int) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self._server, self._load = server, load
        self._random = random.Random(f"{load.seed}/{number}")
        self._running: list[str] = []
        self._ended: list[str] = []
        self.deleted: set[str] = set()
        self.rolled_back: set[str] = set()
        self.long = 0
        self.error: BaseException | None = None
        self.enough = threading.Event()
        self._left = load.rows // load.writers

    def run(self) -> None:
        try:
            while not self._written():
                time.sleep(0.1)
        except BaseException as error:
            self.error = error

    def _written(self) -> bool:
        """Write to the end; False where the server went away meanwhile, and may."""
        try:
            with closing(self._server.connect()) as connection:
                while self._left > 0 and not self.enough.is_set():
                    size = min(self._left, self._random.choice((1, 1, 2, 5, 20, 60)))
                    self._left -= self._transaction(connection, size)
                self._finish(connection)
        except LOST:
            if not self._load.outages:
                raise
            return False
        return True

    def _transaction(self, connection: Any, size: int) -> int:
        """Insert, update and delete some rows, now and then over a long time; the number of rows that stay."""
        rng, cursor = self._random, connection.cursor()
        names = [uuid.UUID(int=rng.getrandbits(128)).hex for _ in range(size)]
        states = rng.choices(("ok", "failed", "running", "again"), (6, 2, 2, 1), k=size)
        long = self._server.kind != "sqlite" and rng.random() < self._load.long_share  # its lock stops all others
        self.long += long
        for n, (name, state) in enumerate(zip(names, states, strict=True)):
            self._execute(
                cursor,
                "INSERT INTO jobs (name, writer, state, error, changed) VALUES (%s, %s, %s, %s, %s)",
                (name, self.name, state, "boom", _now()),
            )
            if n == size // 2:
                time.sleep(self._load.long * rng.uniform(0.9, 1.1) if long else rng.random() * self._load.pause)
        settled, removed = self._change(cursor)
        if rng.random() < 0.1:
            connection.rollback()
            self.rolled_back.update(names)
            return 0
        connection.commit()
        self._running = [name for name in self._running if name not in settled]
        self._ended = [name for name in (*self._ended, *settled) if name not in removed][-200:]
        self.deleted |= removed
        for name, state in zip(names, states, strict=True):
            (self._running if state in ("running", "again") else self._ended).append(name)
        time.sleep(rng.random() * self._load.pause)
        return size

    def _change(self, cursor: Any) -> tuple[set[str], set[str]]:
        """Bring some rows to their end, and delete some that were there: oldest and newest alike."""
        settled = {name for name in self._running if self._random.random() < 0.3}
        for name in sorted(settled):
            state = self._random.choice(("ok", "failed"))
            self._execute(cursor, _END, (state, _now(), name))
        share = 0 if self._load.outages else 0.05
        removed = {name for name in self._ended[:3] + self._ended[-1:] if self._random.random() < share}
        for name in sorted(removed):
            self._execute(cursor, "DELETE FROM jobs WHERE name = %s", (name,))
        return settled, removed

    def _finish(self, connection: Any) -> None:
        cursor = connection.cursor()
        for name in self._running:
            self._execute(cursor, _END, ("failed", _now(), name))
        connection.commit()

    def _execute(self, cursor: Any, sql: str, values: Sequence[Any]) -> None:
        cursor.execute(self._server.sql(sql), values)


class Reader:
    """Does what the poller does: looks up what it watches, reads on, and keeps both with the cursor.

    A source that also reads rows again that changed may give a state that was looked up already: the fold counts the
    same state once, and so does this.
    """

    def __init__(self, source: Reads, seed: int, *, watches: bool = True) -> None:
        self._source = source
        self._watches = watches
        self._folds = watches and source.sees_changes
        self._ended: dict[str, Status] = {}
        self._random = random.Random(seed)
        self.told = Told()
        self.cursor = source.start(datetime.now(UTC)).cursor

    def poll(self) -> bool:
        """One poll; whether it read to the end and waits for nothing."""
        told, now = self.told, datetime.now(UTC)
        seen = self._source.look_up(list(told.watched), now) if told.watched else {}
        batch = self._source.read(self.cursor, now, self._random.choice((50, 1_000, 5_000)))
        for key in [key for key in told.watched if key not in seen]:
            del told.watched[key]
        for record in (*seen.values(), *batch.records):
            self._take(record)
        self.cursor = batch.cursor
        told.polls += 1
        told.notes += batch.notes
        told.largest_cursor = max(told.largest_cursor, len(self.cursor))
        if self._random.random() < 0.02:
            self._source.close()
            told.restarts += 1
        return batch.at_end and not batch.records and '"gaps"' not in self.cursor

    def _take(self, record: Record) -> None:
        if record.status in OPEN:
            if self._watches:
                self.told.watched[record.key] = record.status
        else:
            self.told.watched.pop(record.key, None)
            if not self._folds or self._ended.get(record.key) is not record.status:
                self.told.ends[record.key] += 1
            self._ended[record.key] = record.status


class Naive:
    """What the reader is measured against: `WHERE id > last_id`, and nothing else."""

    def __init__(self, server: Server) -> None:
        self._connection = server.connect(autocommit=True)
        self._sql = server.sql(f"SELECT {server.number}, name FROM jobs WHERE {server.number} > %s ORDER BY 1")
        self._last = 0
        self.names: set[str] = set()

    def poll(self) -> None:
        cursor = self._connection.cursor()
        cursor.execute(self._sql, (self._last,))
        for number, name in cursor.fetchall():
            self._last = number
            self.names.add(str(name))

    def close(self) -> None:
        self._connection.close()


@dataclass
class Outcome:
    """What came of a run. `naive` is how many rows a naive reader beside ours has missed."""

    rows: int
    missed: list[str]
    twice: list[str]
    ghosts: list[str]
    told: Told
    seconds: float
    naive: int
    long_transactions: int
    rolled_back: int
    deleted: int


def run(
    server: Server, source: Reads, load: Load, key: str = "id", *, watches: bool = True, patience: float = 60.0
) -> Outcome:
    """Write and read at once, then read to the end; what was missed, told twice, or told though it never was.

    `watches` is false where the source itself reads rows again that have changed.
    """
    began = time.monotonic()
    reader, naive = Reader(source, load.seed, watches=watches), Naive(server)
    writers = [Writer(server, load, number) for number in range(load.writers)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        reader.poll()
        naive.poll()
        time.sleep(0.005)
    for writer in writers:
        if writer.error is not None:
            raise writer.error
    until = time.monotonic() + patience
    while not reader.poll() and time.monotonic() < until:
        time.sleep(0.02)
    source.close()
    naive.poll()
    naive.close()
    return _outcome(server, writers, reader.told, naive, key, time.monotonic() - began)


def _outcome(server: Server, writers: Sequence[Writer], told: Told, naive: Naive, key: str, seconds: float) -> Outcome:
    with closing(server.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT {key}, name FROM jobs")
        rows = cursor.fetchall()
    there, there_by_name = {str(row[0]) for row in rows}, {str(row[1]) for row in rows}
    deleted = sum(len(writer.deleted) for writer in writers)
    names = {name for writer in writers for name in writer.rolled_back}
    ghosts = [one for one in told.ends if one in names]
    return Outcome(
        rows=len(there) + deleted,
        missed=sorted(there - told.ends.keys()),
        twice=sorted(one for one, times in told.ends.items() if times > 1),
        ghosts=ghosts,
        told=told,
        seconds=seconds,
        naive=len(there_by_name - naive.names),
        long_transactions=sum(writer.long for writer in writers),
        rolled_back=len(names),
        deleted=deleted,
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
