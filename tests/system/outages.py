"""Eight writers on each kind of database, a daemon that is killed, and servers that are restarted under both.

    outages = Outages(folder, servers, seed=1, kills=200, restarts=20)
    await outages.run()
    assert outages.faults() == []

When all is quiet, each row that is there was read once, and each that failed was found, told and delivered once.
`bench_sources_kill.py` runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.sinks.http import HttpSink
from tests.sources.own_servers import Machine
from tests.sources.servers import Server
from tests.sources.workload import Load, Writer, create
from tests.system.kill import Chaos, lines
from tests.system.site import Site, webhook
from tests.system.warm import Warm

WRITERS = 8
LONGEST_LIFE = 3.4
"""Seconds that a daemon lives at most before it is killed."""

COLUMNS = {
    "key": "id", "run_id": "name", "schedule_id": "name", "connector_id": "writer", "status": "state",
    "message": "error", "updated_at": "changed",
}  # fmt: skip
STATUSES = {"success": ["ok"], "failure": ["failed"], "running": ["running"], "retrying": ["again"]}


class Outages(Chaos):
    """See the module's docstring. `machines` are restarted; what has none is a file."""

    def __init__(
        self,
        folder: Path,
        servers: Mapping[str, Server],
        machines: Mapping[str, Machine],
        *,
        seed: int,
        kills: int,
        restarts: int,
        load: Load,
        windows: tuple[str, str] = ("2s", "30s"),
        life: float = LONGEST_LIFE,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.servers, self.machines, self.load = servers, machines, load
        self.windows, self.life = windows, life
        self.kills, self.restarts, self.say = kills, restarts, say
        self.random = random.Random(seed)
        self.site = Site(folder)
        self.requests = []
        self.killed, self.restarted, self.seconds = 0, 0, 0.0
        self.progressed = dict.fromkeys(servers, 0)
        self._read_before: dict[str, int] = {}

    async def run(self) -> None:
        """Kill and restart as often as was said, then let it finish and stop it."""
        begun = time.monotonic()
        for server in self.servers.values():
            create(server)
        writers = [Writer(server, self.load, number) for server in self.servers.values() for number in range(WRITERS)]
        async with HttpSink() as sink:
            sink.answer = self._slowly
            self._write_settings(sink)
            for writer in writers:
                writer.start()
            await self._keep_killing()
            for writer in writers:
                writer.enough.set()
            while any(writer.is_alive() for writer in writers):
                await asyncio.sleep(0.1)
            self._end_what_was_given_up()
            self.say(f"written: {self._rows_written()}")
            await self._let_finish()
            self.requests = sink.requests
        self.errors = [writer.error for writer in writers if writer.error]
        self.seconds = time.monotonic() - begun

    def _write_settings(self, sink: HttpSink) -> None:
        sources = [
            {
                "name": kind, "url": server.url, "table": "jobs", "start": "beginning", "poll": "200ms", "rows": "runs",
                "gap_horizon": "10s", "columns": {**COLUMNS, "key": "name" if kind == "sqlite" else "id"},
                "statuses": STATUSES,
            }
            for kind, server in self.servers.items()
        ]  # fmt: skip
        short, long = self.windows
        configs = [webhook("digests", sink.url, window=short), webhook("ops", sink.url, window=long)]
        self.site.write(sources=sources, notifications=configs)

    async def _keep_killing(self) -> None:
        """Whatever it does: it starts, reads, commits, sends, or is in an outage of its sources."""
        warm, restarts = await Warm(self.site.file).start(), None
        for number in range(1, self.kills + 1):
            pid = await warm.fork()
            await asyncio.sleep(self.random.uniform(0, self.life))
            await warm.kill(pid)
            self.killed = number
            self._look_at_progress()
            if restarts is not None and restarts.done():
                await restarts
                restarts = None
            if restarts is None and number * self.restarts >= (self.restarted + 1) * self.kills:
                restarts = asyncio.create_task(asyncio.to_thread(self._restart))
            if number % 10 == 0:
                self.say(f"killed {number} times, restarted {self.restarted} times; read {self._rows_read()}")
        await warm.close()
        if restarts is not None:
            await restarts
        while self.restarted < self.restarts:
            await asyncio.to_thread(self._restart)

    def _restart(self) -> None:
        """All servers, by turns in order and as after a crash."""
        for machine in self.machines.values():
            if self.restarted % 2:
                machine.stop()
            else:
                machine.kill()
        for machine in self.machines.values():
            machine.start()
        self.restarted += 1

    def _look_at_progress(self) -> None:
        """Which sources came on since the last kill."""
        for name, read in self._rows_read().items():
            before = self._read_before.get(name, 0)
            self.progressed[name] += read > before
            self._read_before[name] = read

    def _end_what_was_given_up(self) -> None:
        """A transaction whose end no writer saw may have left rows that run for ever."""
        for server in self.servers.values():
            server.run("UPDATE jobs SET state = 'failed' WHERE state IN ('running', 'again')")

    # -- what has to be true ---------------------------------------------------------------------

    def faults(self) -> list[str]:
        """Everything that is not as it has to be, a line each."""
        return [*(f"a writer failed: {error!r}" for error in self.errors), *super().faults()]

    def _lost_or_invented(self) -> Iterator[str]:
        for name in self.servers:
            sql = "SELECT record_key FROM events WHERE source_id = ? AND event_type = 'sync_error'"
            told = [key for (key,) in self.site.query(sql, name)]
            failed = self._failed(name)
            yield from lines(f"{name}: a failed row that was not found", failed - set(told))
            yield from lines(f"{name}: found, but not a failed row", set(told) - failed)
            twice = [key for key, times in Counter(told).items() if times > 1]
            yield from lines(f"{name}: found twice", twice)

    def _failed(self, name: str) -> set[str]:
        key = "name" if name == "sqlite" else "id"
        return {str(row[0]) for row in self._rows(name, f"SELECT {key} FROM jobs WHERE state = 'failed'")}

    def _rows(self, name: str, sql: str) -> list[Any]:
        with closing(self.servers[name].connect(autocommit=True)) as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            return list(cursor.fetchall())

    def _rows_read(self) -> dict[str, int]:
        """None yet, where it was killed before it had made its state DB."""
        with contextlib.suppress(sqlite3.OperationalError):
            return {name: self.site.book(f"source:{name}")["read"] for name in self.servers}
        return {}

    def _rows_written(self) -> dict[str, int]:
        return {name: self._rows(name, "SELECT count(*) FROM jobs")[0][0] for name in self.servers}

    def figures(self) -> dict[str, Any]:
        """How much of everything."""
        return {
            "kills": self.killed,
            "restarts_of_each_server": self.restarted,
            "rows": self._rows_written(),
            "failed_rows": {name: len(self._failed(name)) for name in self.servers},
            "kills_before_which_rows_were_read": self.progressed,
            "events": self.site.value("SELECT COUNT(*) FROM events"),
            "deliveries": self.site.value("SELECT COUNT(*) FROM deliveries"),
            "requests": len(self.requests),
            "repeats": len(self.requests) - len(self._arrivals()),
            "in_flight_at_a_kill": self._in_flight().total(),
            "seconds": round(self.seconds, 1),
        }
