"""A poll of a log of 5 million rows costs what a poll of 10,000 rows costs, with 0, 100 or 10,000 new rows."""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from notifyd.sources import Source
from tests.bench.report import Report, main, middle, say
from tests.sources import servers
from tests.sources.servers import Server
from tests.sources.workload import source_of

SMALL, LARGE = 10_000, 5_000_000
NEW = (0, 100, 10_000)
ROUNDS = {0: 41, 100: 21, 10_000: 9}
OVERLAP = 'overlap = "10s"\n'
"""All that the small log spans: so both hold the same number of rows within it, and only their size is another."""

STRATEGIES = {
    "key": ("id", OVERLAP),
    "rowid": ("name", OVERLAP),
    "timestamp": ("name", f'cursor = "timestamp"\n{OVERLAP}'),
}
START = datetime(2026, 1, 1, tzinfo=UTC)

_OF_SEQUENCE = """
    INSERT INTO jobs (name, writer, state, error, changed)
    SELECT concat('n', lpad(seq, 9, '0')), concat('w', seq MOD 50), 'ok', 'Synced',
      '{start}' + INTERVAL seq * 1000 MICROSECOND
    FROM seq_{first}_to_{last}
"""


class Log:
    """A log of so many rows, one each millisecond, and a source that has read it to its end."""

    def __init__(self, server: Server, size: int, folder: Path, strategy: str) -> None:
        self.size, self._server, self._writer = size, server, server.connect()
        key, more = STRATEGIES[strategy]
        self.source: Source = source_of(server, folder, key, more)
        self.source.settings = self.source.settings.model_copy(update={"start": "now"})
        self.cursor = self.source.start(self.now).cursor
        self.poll()

    @property
    def now(self) -> datetime:
        return START + timedelta(milliseconds=self.size)

    def add(self, count: int) -> None:
        if count:
            fill(self._server, self._writer, self.size, count)
        self.size += count

    def poll(self) -> tuple[int, float]:
        """Read to the end: how many rows, and how long it took."""
        found, began = 0, time.perf_counter()
        while True:
            batch = self.source.read(self.cursor, self.now)
            found, self.cursor = found + len(batch.records), batch.cursor
            if batch.at_end:
                return found, time.perf_counter() - began

    def close(self) -> None:
        self.source.close()
        self._writer.close()


def make(server: Server, size: int) -> None:
    number = "INTEGER PRIMARY KEY" if server.kind == "sqlite" else server.key
    server.run(
        f"CREATE TABLE jobs (id {number}, name varchar(20), writer varchar(20), state varchar(20), error text,"
        f" changed {server.times})",
        "CREATE INDEX jobs_by_name ON jobs (name)",
        "CREATE INDEX jobs_by_time ON jobs (changed)",
    )
    with closing(server.connect()) as writer:
        for first in range(0, size, 100_000):
            fill(server, writer, first, min(100_000, size - first))
    server.run("ANALYZE TABLE jobs" if server.kind == "mysql" else "ANALYZE")


def fill(server: Server, writer: Any, first: int, count: int) -> None:
    rows = (
        (f"n{number:09}", f"w{number % 50}", "ok", "Synced", str(START + timedelta(milliseconds=number)))
        for number in range(first, first + count)
    )
    cursor = writer.cursor()
    if server.kind == "mysql":
        cursor.execute(_OF_SEQUENCE.format(first=first, last=first + count - 1, start=f"{START:%F %T}"))
    elif server.kind == "postgresql":
        with cursor.copy("COPY jobs (name, writer, state, error, changed) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    else:
        cursor.executemany("INSERT INTO jobs (name, writer, state, error, changed) VALUES (?, ?, ?, ?, ?)", rows)
    writer.commit()


async def measure(seed: int) -> Report:
    """The seed changes nothing: the rows are what they are."""
    report = Report()
    for kind, opened in servers.KINDS.items():
        with ExitStack() as stack:
            small, large = stack.enter_context(opened()), stack.enter_context(opened())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            await asyncio.to_thread(make, small, SMALL)
            await asyncio.to_thread(make, large, LARGE)
            sizes = {small.url: SMALL, large.url: LARGE}
            for strategy in STRATEGIES if kind == "sqlite" else ("key", "timestamp"):
                await asyncio.to_thread(_compare, report, kind, strategy, (small, large), sizes, folder)
    return report


def _compare(
    report: Report, kind: str, strategy: str, both: tuple[Server, Server], sizes: dict[str, int], folder: Path
) -> None:
    """Poll both logs in turn, so that whatever else the machine does falls on both."""
    logs = [Log(server, sizes[server.url], folder, strategy) for server in both]
    for new in NEW:
        times: list[list[float]] = [[], []]
        for _ in range(ROUNDS[new]):
            for log, took in zip(logs, times, strict=True):
                log.add(new)
                gc.collect()
                found, seconds = log.poll()
                if found != new:
                    raise AssertionError(f"{found} rows instead of {new}")
                took.append(seconds)
        small, large = (middle(took, 6) for took in times)
        name = f"{kind}.{strategy}.{new}_new"
        report.figures[name] = {"small_ms": round(small * 1e3, 3), "large_ms": round(large * 1e3, 3)}
        report.figures[name]["ratio"] = round(large / small, 3)
        report.claims[f"{name}: at most 1.2 times as long on {LARGE:,} rows as on {SMALL:,}"] = large <= 1.2 * small
        say(f"{name}: {report.figures[name]}")
    for server, log in zip(both, logs, strict=True):
        sizes[server.url] = log.size
        log.close()


if __name__ == "__main__":
    asyncio.run(main("sources_cost", measure))
