"""24 simulated hours of a busy log at full speed: does anything grow that should not?

The daemon runs in this process on a clock of the bench's: each step writes a minute's rows into the log, puts the
clock a minute forward, polls, and lets the sender come to rest. Most rows succeed; some jobs fail once, some in a
row and recover, an endpoint refuses now and then. History is kept for one hour, so that the state DB has to come to
a size and stay there; every simulated hour, what is old goes while the store thread is asked how long it lets one wait.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import linear_regression, quantiles

sys.path.insert(0, str(Path(__file__).parents[2]))

from notifyd.daemon import Daemon
from notifyd.model import rfc3339
from notifyd.observe import logs
from notifyd.store.database import Database
from tests.bench.report import Report, main, say
from tests.sinks.http import HttpSink, Request
from tests.sinks.log import JobLog
from tests.system.site import Site, webhook

HOURS = 24
ROWS_A_MINUTE = 120
JOBS = 80
SETTLED = 4
"""Hours after which everything has come to its size: retention has begun to remove, caches are full."""

MEGABYTE = 1024 * 1024


class Clock:
    """The time that the bench says it is."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Sample:
    """What is held at the end of a simulated hour."""

    def __init__(self, state: Path) -> None:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.resident = pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE
        self.threads = threading.active_count()
        self.descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        wal = state.with_name(state.name + "-wal")
        self.database = sum(file.stat().st_size for file in (state, wal) if file.exists()) / MEGABYTE


async def measure(seed: int) -> Report:
    dice = random.Random(seed)
    with ExitStack() as stack:
        site = Site(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        log = stack.enter_context(JobLog(site.folder / "jobs.db"))
        sent = [0]

        async def answer(_request: Request) -> int:
            sent[0] += 1
            return 503 if dice.random() < 0.02 else 200

        async with HttpSink() as sink:
            sink.answer = answer
            site.write(
                sources=[log.source("jobs", poll="10m")],
                notifications=[webhook("ops", sink.url, window="5m"), webhook("all", sink.url)],
                daemon={"retention": "1h"},
            )
            logs.configure("error", stack.enter_context(Path(os.devnull).open("w")))
            samples, waits = await _live(site, log, sink, dice)
        balanced = site.imbalances()
        read = site.book("source:jobs")["read"]
    return _report(samples, waits, balanced, read, sent[0])


async def _live(site: Site, log: JobLog, sink: HttpSink, dice: random.Random) -> tuple[list[Sample], list[float]]:
    clock, samples, waits = Clock(), [], []
    daemon = Daemon(site.settings(), clock)
    await daemon.start()
    await daemon.ready()
    (poller,) = daemon.pollers
    for hour in range(HOURS):
        for _ in range(60):
            log.write(_rows(log, clock(), dice))
            clock.now += timedelta(minutes=1)
            await daemon.poll(poller)
            await _at_rest(daemon)
            sink.requests.clear()
        waits += await _pruned(daemon)
        samples.append(Sample(site.state))
        held = samples[-1]
        say(
            f"hour {hour + 1}: {held.resident:.1f} MB resident, {held.threads} threads, {held.descriptors} descriptors,"
            f" state DB {held.database:.1f} MB"
        )
    await daemon.stop()
    return samples, waits


def _rows(log: JobLog, now: datetime, dice: random.Random) -> list[tuple[object, ...]]:
    """A minute's rows: every tenth job is in a bad quarter of an hour now and then."""
    quarter = int(now.timestamp() // 900)
    rows = []
    for _ in range(ROWS_A_MINUTE):
        job = dice.randrange(JOBS)
        bad = (job + quarter) % 37 == 0 or dice.random() < 0.01
        text = f"500: no such order {dice.randrange(10**9)}" if bad else ""
        rows.append(log.row("error" if bad else "ok", text, job=f"job {job}", at=now))
    return rows


async def _at_rest(daemon: Daemon) -> None:
    """Until nothing is on its way any more that is due now."""
    due = "SELECT COUNT(*) FROM deliveries WHERE state IN ('pending', 'sending') AND due_at <= ?"
    while True:
        daemon.sender.wake()
        await asyncio.sleep(0.005)
        moment = rfc3339(daemon.clock())
        if (await daemon.store(Database.run, due, [moment]))[0][0] == 0:
            return


async def _pruned(daemon: Daemon) -> list[float]:
    """Remove what is old; meanwhile, how long somebody else waits for the store thread, in milliseconds."""
    pruning, waits = asyncio.create_task(daemon._prune()), []
    while not pruning.done():
        asked = time.perf_counter()
        await daemon.store(Database.run, "SELECT 1")
        waits.append((time.perf_counter() - asked) * 1000)
        await asyncio.sleep(0.002)
    await pruning
    return waits


def _report(samples: list[Sample], waits: list[float], balanced: list[str], read: int, sent: int) -> Report:
    late = samples[SETTLED:]
    hours = list(range(SETTLED, len(samples)))
    slope = linear_regression(hours, [sample.resident for sample in late]).slope
    first, second = late[: len(late) // 2], late[len(late) // 2 :]
    sizes = [sample.database for sample in late]
    p99 = quantiles(waits, n=100)[98]
    figures = {
        "simulated hours": HOURS,
        "rows read": read,
        "requests sent": sent,
        "resident after the first hours / at the end, MB": [round(late[0].resident, 1), round(late[-1].resident, 1)],
        "slope of resident memory, MB an hour": round(slope, 3),
        "threads, least and most": [min(s.threads for s in late), max(s.threads for s in late)],
        "descriptors, least and most": [min(s.descriptors for s in late), max(s.descriptors for s in late)],
        "state DB, least and most, MB": [round(min(sizes), 1), round(max(sizes), 1)],
        "wait for the store thread while old rows go, median / p99 / most, ms": [
            round(quantiles(waits, n=2)[0], 1), round(p99, 1), round(max(waits), 1)
        ],
    }  # fmt: skip
    claims = {
        "resident memory is flat: less than 0.1 MB a simulated hour": slope < 0.1,
        "no more threads in the second half": _most(second, "threads") <= _most(first, "threads"),
        "no more descriptors in the second half": _most(second, "descriptors") <= _most(first, "descriptors"),
        "the state DB stays within 1.25 of its size": max(sizes) <= 1.25 * min(sizes),
        "the books balance": not balanced,
        "every row was read": read == HOURS * 60 * ROWS_A_MINUTE,
    }
    return Report(
        figures, claims, [f"{ROWS_A_MINUTE} rows a minute of {JOBS} jobs; retention 1h; slope from hour {SETTLED}"]
    )


def _most(samples: list[Sample], what: str) -> int:
    return max(int(getattr(sample, what)) for sample in samples)


if __name__ == "__main__":
    asyncio.run(main("soak", measure))
