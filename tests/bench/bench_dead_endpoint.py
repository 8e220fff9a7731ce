"""A dead endpoint beside a healthy one: how long the healthy one waits, against a control in the same run.

Latency is from the beginning of the poll that found an event (events.found_at) to its whole arrival at the
healthy sink: detection, planning, the commit, the claim and the request, but not the wait for the poll, which no
endpoint can change. The control is the same daemon with the second endpoint healthy too, so both do the same
work; `alone`, without a second config, is there to compare. All of them take turns, in a random order.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.report import Report, main, middle, say
from tests.sinks.http import HANG, HttpSink, Request
from tests.sinks.log import JobLog
from tests.system.process import Process
from tests.system.site import Site, webhook

ROUNDS = 3
EVENTS = 400
PAUSE = 0.02
"""Seconds between two rows: about fifty failures a second."""

GOAL = 1.1
DEAD = ("refused", "hanging", "500 for ever")
KINDS = ("control", "alone", *DEAD)


async def measure(seed: int) -> Report:
    chance = random.Random(seed)
    latencies: dict[str, list[float]] = {kind: [] for kind in KINDS}
    ratios: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(1, ROUNDS + 1):
        measured = {kind: await _latencies(kind) for kind in chance.sample(KINDS, len(KINDS))}
        for kind, values in measured.items():
            latencies[kind] += values
            ratios[kind].append(middle(values) / middle(measured["control"]))
        say(f"round {number}: " + ", ".join(f"{kind} {middle(measured[kind], 2)} ms" for kind in KINDS))
    figures = {f"{kind}: median latency, ms": middle(values, 2) for kind, values in latencies.items()}
    figures |= {f"{kind}: p90 latency, ms": _p90(values) for kind, values in latencies.items()}
    figures |= {f"{kind}: median of the rounds' ratios to the control": middle(ratios[kind]) for kind in KINDS[1:]}
    claims = {
        f"beside a dead endpoint ({kind}) the median latency is within {GOAL} of the control": middle(ratios[kind])
        <= GOAL
        for kind in DEAD
    }
    return Report(figures, claims, [f"{ROUNDS} rounds of {EVENTS} events each, one every {PAUSE * 1000:g} ms"])


async def _latencies(kind: str) -> list[float]:
    """The latencies of one daemon's deliveries to the healthy endpoint, in milliseconds."""
    async with AsyncExitStack() as stack:
        site = Site(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        jobs = stack.enter_context(JobLog(site.folder / "jobs.db"))
        healthy = await stack.enter_async_context(HttpSink())
        configs = [webhook("healthy", healthy.url)]
        if kind != "alone":
            configs.append(webhook("other", await _other(kind, stack)))
        site.write(sources=[jobs.source("jobs")], notifications=configs)
        process = await stack.enter_async_context(Process(site.file))
        for n in range(EVENTS):
            jobs.add("error", "no such order", job=f"job {n}")
            await asyncio.sleep(PAUSE)
        arrived = await healthy.wait_for(EVENTS, timeout=60)
        await process.end()
        return _waited(site, arrived)


async def _other(kind: str, stack: AsyncExitStack) -> str:
    """The url of the second endpoint, in the state that `kind` says."""
    if kind == "refused":
        async with HttpSink() as closed:
            return closed.url
    sink = await stack.enter_async_context(HttpSink())
    if kind == "hanging":
        sink.answer = HANG
    elif kind == "500 for ever":
        sink.answer = 500
    return sink.url


def _waited(site: Site, arrived: list[Request]) -> list[float]:
    found = dict(
        site.query(
            "SELECT v.delivery_id, e.found_at FROM verdicts v JOIN events e ON e.id = v.event_id"
            " WHERE v.delivery_id IS NOT NULL"
        )
    )
    begun = [datetime.fromisoformat(found[request.headers["webhook-id"]]) for request in arrived]
    return [(request.at - at).total_seconds() * 1000 for request, at in zip(arrived, begun, strict=True)]


def _p90(values: list[float]) -> float:
    return round(sorted(values)[int(len(values) * 0.9)], 2)


if __name__ == "__main__":
    asyncio.run(main("dead_endpoint", measure))
