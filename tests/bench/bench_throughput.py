"""How fast rows become events, and events deliveries, each as a ratio to a bare loop of the same work.

Rows: one poller reads a log from its beginning: read, detect, plan and commit, into a new state DB. The bare loop
does what cannot be left out: it reads the same columns of the same rows with sqlite3, in pages of the same size, and
writes the very rows that the poller wrote into a state DB of the same schema, one transaction for each page.

Deliveries: `notifyd run`, with `window = "0s"`, to a sink in this process. The bare loop is bare_httpx.py: the same
bodies to the same sink by httpx.AsyncClient, with as many connections; it records nothing. Rates are taken at the
sink, from the first arrival to the last. The two take turns.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from notifyd.clock import utc_now
from notifyd.core.rules import Origin
from notifyd.filtering import gate_of
from notifyd.observe import logs
from notifyd.observe.health import Health
from notifyd.poller import Poller
from notifyd.settings import Delivery
from notifyd.sources.source import BATCH
from notifyd.store.database import open_database
from notifyd.store.thread import StoreThread
from tests.bench.report import HERE, Report, main, middle, say
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.process import Process
from tests.system.site import Site, webhook

ROUNDS = 5
SUCCESSES = 200_000
FAILURES = 20_000
DELIVERIES = 4_000

_COLUMNS = "id, job, connector, status, error, ended_at"
_TABLES = ("runs", "streaks", "events", "verdicts", "deliveries")

EARLIER = datetime.now(UTC) - timedelta(hours=5)
"""Longer ago than rows are watched on, as nearly all rows of a log are that is caught up with."""

Row = tuple[Any, ...]


async def measure(seed: int) -> Report:
    logs.configure("error")
    chance = random.Random(seed)
    report = Report()
    for what, rows in (
        ("successes", _successes(chance, EARLIER)),
        ("successes, just ended", _successes(chance, None)),
        ("failures", [JobLog.row("error", "no such order", job=f"job {n}") for n in range(FAILURES)]),
    ):
        report.figures |= await _rows(what, rows)
    report.figures |= await _deliveries()
    report.claims = {
        "successes: at least a sixth of a bare loop that does nothing with them": report.figures["successes: ratio"]
        >= 0.167,
        "successes, just ended: at least a twentieth": report.figures["successes, just ended: ratio"] >= 0.05,
        "failures: at least a fifth of a bare loop that writes the same rows": report.figures["failures: ratio"] >= 0.2,
        "deliveries: at least a third of a bare httpx loop that records nothing": report.figures["deliveries: ratio"]
        >= 0.33,
    }
    report.notes = [
        f"medians of {ROUNDS} rounds; {SUCCESSES:,} successes, {FAILURES:,} failures, {DELIVERIES:,} deliveries each",
        "a success that has just ended is watched on, in case it is run again: the newest 1,000 of each batch",
        "a failure costs an event, a verdict, a delivery and its part of a commit that is synced to disk",
    ]
    return report


def _successes(chance: random.Random, at: datetime | None) -> list[Row]:
    return [JobLog.row("ok", job=f"job {chance.randrange(50)}", at=at) for _ in range(SUCCESSES)]


# -- rows --------------------------------------------------------------------------------------------


async def _rows(what: str, rows: list[Row]) -> dict[str, float]:
    """Rows a second of the poller and of the bare loop, taking turns on one log."""
    polled, bare = [], []
    with tempfile.TemporaryDirectory() as folder, JobLog(Path(folder) / "jobs.db") as jobs:
        jobs.write(rows)
        for number in range(1, ROUNDS + 1):
            site = Site(Path(folder) / f"{number}")
            site.folder.mkdir()
            polled.append(len(rows) / await _polled(jobs, len(rows), site))
            bare.append(len(rows) / _bare(jobs, len(rows), site))
            say(f"{what}, round {number}: {polled[-1]:,.0f} rows/s, bare {bare[-1]:,.0f} rows/s")
    return {
        f"{what}: rows/s": round(middle(polled)),
        f"{what}: bare rows/s": round(middle(bare)),
        f"{what}: ratio": middle([a / b for a, b in zip(polled, bare, strict=True)]),
    }


async def _polled(jobs: JobLog, count: int, site: Site) -> float:
    """Seconds of one poll over the whole log: the daemon's poller, without its schedule and its sender."""
    site.write(sources=[jobs.source("jobs", start="beginning")], notifications=[webhook("hook", "http://127.0.0.1:9")])
    settings = site.settings()
    (source,), (notification,) = settings.sources, settings.notifications
    database = open_database(settings.daemon.state, create=True)
    database.close()
    store = StoreThread(database)
    poller = Poller(
        source,
        Origin(source.name, source.id, rows=source.rows, rewatch=source.rewatch, forget_after=source.forget_after),
        settings.rules.detection(),
        [gate_of(notification, settings.registry)],
        store,
        utc_now,
        Health(),
        found=lambda: None,
    )
    begun = time.perf_counter()
    await poller.poll()
    took = time.perf_counter() - begun
    await poller.close()
    await store.close()
    assert site.book("source:jobs")["read"] == count
    return took


def _bare(jobs: JobLog, count: int, site: Site) -> float:
    """Seconds of the bare loop; the poller's state DB says what is to be written."""
    copy = site.folder / "bare.db"
    database = open_database(f"sqlite:///{copy}", create=True)
    written = _pages(site, math.ceil(count / BATCH))
    begun, at, read = time.perf_counter(), 0, 0
    with closing(sqlite3.connect(f"file:{jobs.path}?mode=ro", uri=True)) as log:
        sql = f"SELECT {_COLUMNS} FROM jobs WHERE id > ? ORDER BY id LIMIT {BATCH}"
        while rows := log.execute(sql, [at]).fetchall():
            at, read = rows[-1][0], read + len(rows)
            with database.transaction():
                for insert, values in next(written):
                    database.write_many(insert, values)
    took = time.perf_counter() - begun
    database.close()
    assert read == count
    return took


def _pages(site: Site, pages: int) -> Iterator[list[tuple[str, list[Row]]]]:
    """All rows of a state DB in equal parts: for each part, a statement and its rows for each table."""
    tables = {table: site.query(f'SELECT * FROM "{table}"') for table in _TABLES}
    for page in range(pages):
        yield [
            (f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(rows[0]))})', rows[page::pages])
            for table, rows in tables.items()
            if rows
        ]


# -- deliveries --------------------------------------------------------------------------------------


async def _deliveries() -> dict[str, float]:
    """Deliveries a second of the daemon and of the bare loop, taking turns at one sink."""
    daemon, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder) / "bodies.jsonl"
        for number in range(1, ROUNDS + 1):
            daemon.append(await _by_the_daemon(Path(folder) / f"{number}", bodies))
            bare.append(await _by_a_bare_loop(bodies))
            say(f"deliveries, round {number}: {daemon[-1]:,.0f}/s, bare httpx {bare[-1]:,.0f}/s")
    return {
        "deliveries: per second": round(middle(daemon)),
        "deliveries: bare httpx, per second": round(middle(bare)),
        "deliveries: ratio": middle([a / b for a, b in zip(daemon, bare, strict=True)]),
    }


async def _by_the_daemon(folder: Path, bodies: Path) -> float:
    folder.mkdir()
    site = Site(folder)
    async with HttpSink() as sink:
        with JobLog(folder / "jobs.db") as jobs:
            jobs.write(JobLog.row("error", "no such order", job=f"job {n}") for n in range(DELIVERIES))
            site.write(sources=[jobs.source("jobs", start="beginning")], notifications=[webhook("hook", sink.url)])
            async with Process(site.file) as process:
                requests = await sink.wait_for(DELIVERIES, timeout=300)
                await process.end()
        bodies.write_text("".join(json.dumps(request.body.decode()) + "\n" for request in requests))
        return _rate([request.at for request in requests])


async def _by_a_bare_loop(bodies: Path) -> float:
    async with HttpSink() as sink:
        script = HERE / "bare_httpx.py"
        loop = await asyncio.create_subprocess_exec(
            sys.executable, str(script), f"{sink.url}/hook", str(bodies), str(Delivery().max_concurrency)
        )
        requests = await sink.wait_for(DELIVERIES, timeout=300)
        assert await loop.wait() == 0
        return _rate([request.at for request in requests])


def _rate(moments: Iterable[datetime]) -> float:
    ordered = sorted(moments)
    return (len(ordered) - 1) / (ordered[-1] - ordered[0]).total_seconds()


if __name__ == "__main__":
    asyncio.run(main("throughput", measure))
