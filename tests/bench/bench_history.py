"""What reading the history costs the daemon: 200 pages a second of a million attempts, beside its polls.

One daemon in this process, with the API and one source. Polls are made by hand, each over new rows of the log: some
succeed, some fail and become events, and all is committed. Half of the polls have 200 pages a second read beside
them, by history_reader.py in a process of its own; the other half, in turns, have not: they are the control.

Sends in the same way: twenty events of one poll, each a delivery to a sink in this process, from the poll's end until
the last has arrived.

A page by itself, over HTTP: the newest, and the very last, which a million attempts are before.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))

from notifyd.daemon import Daemon
from notifyd.observe import logs
from notifyd.store import tokens
from notifyd.store.database import open_database
from notifyd.store.tokens import Permission
from notifyd.store.trail import Actor
from tests.bench.report import HERE, Report, main, middle, say
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, webhook
from tests.web.past import Attempts

HISTORY = 1_000_000
RATE = 200
ROUNDS = 40
POLLS = 10
ROWS, FAILING = 200, 10
SENDING_POLLS, SENDS = 4, 20
PAGES = 200

Reading = Callable[[list[dict[str, float]]], AbstractAsyncContextManager[None]]


async def measure(seed: int) -> Report:
    logs.configure("error")
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, JobLog(Path(folder) / "jobs.db") as jobs:
        site = Site(Path(folder))
        _write_history(site, seed)
        async with HttpSink() as sink, _running(site, jobs, sink) as (daemon, token):
            report = await _polls(daemon, token, jobs, chance)
            await _sends(daemon, token, jobs, sink, report)
            await _pages(daemon, token, report)
    report.claims = {
        f"{RATE} pages a second leave a poll within 1.1 of its control": report.figures["poll: ratio"] <= 1.1,
        "and a send comes no more than 2 ms later": report.figures["a send: later by, ms"] <= 2,
        "a page costs the same at the start and at the end (≤ 1.5)": report.figures["page: ratio"] <= 1.5,
        f"and {RATE} a second were really read": report.figures["pages read per second"] >= RATE * 0.95,
    }
    report.notes = [
        f"{HISTORY:,} attempts; {ROUNDS} rounds of {POLLS} polls each way, each of {ROWS} new rows, {FAILING} failing",
        "the daemon and the reader share two cores; the pages are of 50 attempts, found in seven ways",
    ]
    return report


def _write_history(site: Site, seed: int) -> None:
    say(f"writing {HISTORY:,} attempts …")
    database = open_database(f"sqlite:///{site.state}", create=True)
    Attempts(database, seed).write(HISTORY)
    database.close()


@asynccontextmanager
async def _running(site: Site, jobs: JobLog, sink: HttpSink) -> AsyncIterator[tuple[Daemon, str]]:
    """A daemon that polls when it is told to, and whose events nobody is told of but those of one connector."""
    quiet = webhook("hook", "http://127.0.0.1:9", filters={"connectors": ["nobody"]})
    source = {**jobs.source("jobs"), "poll": "24h"}
    told = webhook("told", sink.url, filters={"connectors": ["told"]})
    site.write(sources=[source], notifications=[quiet, told], http={"listen": "127.0.0.1:0"})
    daemon = Daemon(site.settings())
    await daemon.start()
    try:
        await daemon.ready()
        allowed, actor = [Permission.MANAGE_SETTINGS], Actor("bench")
        _, token = await daemon.store(tokens.create, "bench", allowed, actor, daemon.clock())
        yield daemon, token
    finally:
        await daemon.stop()


# -- polls -------------------------------------------------------------------------------------------


async def _polls(daemon: Daemon, token: str, jobs: JobLog, chance: random.Random) -> Report:
    control: list[float] = []
    beside: list[float] = []
    read: list[dict[str, float]] = []
    async with _reader(daemon, token) as reading:
        for number in range(ROUNDS):
            for busy in (False, True) if number % 2 else (True, False):
                if busy:
                    async with reading(read):
                        beside += await _round(daemon, jobs, chance)
                else:
                    control += await _round(daemon, jobs, chance)
            if number % 10 == 9:
                say(f"round {number + 1}: {middle(beside):.2f} ms, control {middle(control):.2f} ms")
    return Report({
        "poll: control, ms": middle(control),
        "poll: beside the pages, ms": middle(beside),
        "poll: ratio": round(middle(beside) / middle(control), 3),
        "pages read per second": round(middle([each["per_second"] for each in read]), 1),
        "page beside polls, ms": middle([each["median_ms"] for each in read]),
    })  # fmt: skip


async def _round(daemon: Daemon, jobs: JobLog, chance: random.Random) -> list[float]:
    """Milliseconds of each poll."""
    (poller,) = daemon.pollers
    took = []
    for _ in range(POLLS):
        jobs.write(_row(jobs, n, chance) for n in range(ROWS))
        await asyncio.sleep(chance.uniform(0.005, 0.015))  # never in step with the pages
        begun = time.perf_counter()
        await daemon.poll(poller)
        took.append((time.perf_counter() - begun) * 1000)
    return took


def _row(jobs: JobLog, number: int, chance: random.Random) -> tuple[Any, ...]:
    status = "error" if number < FAILING else "ok"
    return jobs.row(status, "no such order" if status == "error" else None, job=f"job {chance.randrange(200)}")


@asynccontextmanager
async def _reader(daemon: Daemon, token: str) -> AsyncIterator[Reading]:
    """history_reader.py; it reads while `async with reading(results):` lasts."""
    reader = await asyncio.create_subprocess_exec(
        *(sys.executable, str(HERE / "history_reader.py"), str(daemon.server.port), token, str(RATE)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    line, results = reader.stdin, reader.stdout

    @asynccontextmanager
    async def reading(read: list[dict[str, float]]) -> AsyncIterator[None]:
        line.write(b"\n")
        yield
        line.write(b"\n")
        read.append(json.loads(await results.readline()))

    yield reading
    line.close()
    await reader.wait()


# -- sends -------------------------------------------------------------------------------------------


async def _sends(daemon: Daemon, token: str, jobs: JobLog, sink: HttpSink, report: Report) -> None:
    took: dict[bool, list[float]] = {False: [], True: []}
    async with _reader(daemon, token) as reading:
        for number in range(ROUNDS):
            for busy in (False, True) if number % 2 else (True, False):
                async with reading([]) if busy else nullcontext():
                    took[busy] += [await _send(daemon, jobs, sink) for _ in range(SENDING_POLLS)]
    report.figures |= {
        f"{SENDS} sends: control, ms": middle(took[False]),
        f"{SENDS} sends: beside the pages, ms": middle(took[True]),
        "a send: later by, ms": round((middle(took[True]) - middle(took[False])) / SENDS, 3),
    }


async def _send(daemon: Daemon, jobs: JobLog, sink: HttpSink) -> float:
    """Milliseconds until the events of one poll have arrived."""
    (poller,) = daemon.pollers
    expected = len(sink.requests) + SENDS
    jobs.write(jobs.row("error", "no such order", job=f"told {expected + n}", connector="told") for n in range(SENDS))
    await daemon.poll(poller)
    begun = time.perf_counter()
    while len(sink.requests) < expected:
        await asyncio.sleep(0.001)
    return (time.perf_counter() - begun) * 1000


# -- pages -------------------------------------------------------------------------------------------


async def _pages(daemon: Daemon, token: str, report: Report) -> None:
    newest, last = [], []
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{daemon.server.port}", headers=headers) as client:
        for _ in range(PAGES):
            newest.append(await _page(client, 50))
            last.append(await _page(client, 50, before=51))
    report.figures |= {
        "page: the newest, ms": middle(newest),
        "page: the last, ms": middle(last),
        "page: ratio": round(middle(last) / middle(newest), 3),
    }


async def _page(client: httpx.AsyncClient, expected: int, **query: int) -> float:
    begun = time.perf_counter()
    answer = await client.get("/api/notifications/history", params=query)
    took = (time.perf_counter() - begun) * 1000
    assert len(answer.json()["items"]) == expected
    return took


if __name__ == "__main__":
    asyncio.run(main("history", measure))
