"""A dead endpoint beside twenty healthy ones: how long the healthy ones wait, against a control in the same run.

Four daemons run side by side, each with a log, a state DB, and twenty configs whose endpoints are healthy. They differ
in one config more: its endpoint refuses connections, hangs, answers 500 for ever, or, in the control, is healthy too,
so that only its death makes a difference. Failures come to one daemon after another, in a random order for each cycle,
so that whatever else this machine does meets all of them alike.

Latency is from the beginning of the poll that found an event (events.found_at) to its whole arrival at a healthy
endpoint: detection, planning, the commit, the claim and the request, but not the wait for the poll, which no
endpoint can change. A cycle gives one median and one 99th percentile per daemon; a ratio is the median of the cycles'.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from statistics import quantiles
from typing import Self

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.report import Report, main, middle, say
from tests.sinks.http import HANG, HttpSink
from tests.sinks.log import JobLog
from tests.system.process import Process
from tests.system.site import Site, webhook

HEALTHY = 20
CYCLES = 25
EVENTS = 20
"""A turn of a daemon: so many failures, and twenty times as many deliveries to healthy endpoints."""

PAUSE = 0.08
"""Seconds between two failures: some 250 deliveries a second while it is a daemon's turn."""

GOAL = 1.1

DEAD = ("refused", "hanging", "500 for ever")
CONTROL = "healthy"
KINDS = (CONTROL, *DEAD)


async def measure(seed: int) -> Report:
    chance = random.Random(seed)
    waits: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}  # by cycle
    async with AsyncExitStack() as stack:
        daemons = [await stack.enter_async_context(Watched(kind)) for kind in KINDS]
        for cycle in range(1, CYCLES + 1):
            for daemon in chance.sample(daemons, len(daemons)):
                waits[daemon.kind].append(await daemon.turn(cycle))
            if cycle % 5 == 0:
                say(f"cycle {cycle}: " + ", ".join(f"{kind} {_p99(waits[kind][-1]):.0f} ms" for kind in KINDS))
        attempts = {daemon.kind: len(daemon.site.attempts("other")) for daemon in daemons}
        unsent = {daemon.kind: daemon.unsent for daemon in daemons}
    return _report(waits, attempts, unsent)


def _report(waits: dict[str, list[list[float]]], attempts: dict[str, int], unsent: dict[str, int]) -> Report:
    medians = {kind: [middle(cycle) for cycle in waits[kind]] for kind in KINDS}
    p99s = {kind: [_p99(cycle) for cycle in waits[kind]] for kind in KINDS}
    whole = {kind: _p99([wait for cycle in waits[kind] for wait in cycle]) for kind in KINDS}
    figures: dict[str, float] = {f"{kind}: median, ms": middle(medians[kind], 2) for kind in KINDS}
    figures |= {f"{kind}: p99 of a cycle, median, ms": middle(p99s[kind], 2) for kind in KINDS}
    figures |= {f"{kind}: p99 of the whole run, ms": round(whole[kind], 2) for kind in KINDS}
    figures |= {f"{kind}: p99, ratio to the control": _ratio(p99s[kind], p99s[CONTROL]) for kind in DEAD}
    figures |= {f"{kind}: median, ratio to the control": _ratio(medians[kind], medians[CONTROL]) for kind in DEAD}
    figures |= {f"{kind}: attempts at the dead endpoint": attempts[kind] for kind in DEAD}
    delivered = CYCLES * EVENTS * HEALTHY
    claims = {
        f"beside a dead endpoint ({kind}), the p99 of {HEALTHY} healthy ones is within {GOAL} of the control": (
            figures[f"{kind}: p99, ratio to the control"] <= GOAL
        )
        for kind in DEAD
    }
    claims[f"all {delivered:,} deliveries of each daemon to healthy endpoints arrived"] = not any(unsent.values())
    return Report(figures, claims, [f"{CYCLES} cycles of {EVENTS} failures to each daemon, {1 / PAUSE:g} a second"])


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]


def _ratio(values: list[float], control: list[float]) -> float:
    return middle([value / other for value, other in zip(values, control, strict=True)])


class Watched:
    """One daemon, and its healthy endpoints."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.site = Site(Path(self._stack.enter_context(tempfile.TemporaryDirectory())))
        self.jobs = self._stack.enter_context(JobLog(self.site.folder / "jobs.db"))
        self.healthy = await self._stack.enter_async_context(HttpSink())
        only = {"event_types": ["sync_error"]}  # and not that a channel fails
        configs = [webhook(f"healthy-{n}", self.healthy.url, filters=only) for n in range(HEALTHY)]
        configs.insert(HEALTHY // 2, webhook("other", await self._other_endpoint()))
        self.site.write(sources=[self.jobs.source("jobs")], notifications=configs)
        await self._stack.enter_async_context(Process(self.site.file))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def turn(self, cycle: int) -> list[float]:
        """Some failures; the milliseconds that each delivery took to its healthy endpoint."""
        known = len(self.healthy.requests)
        for n in range(EVENTS):
            self.jobs.add("error", "no such order", job=f"job {cycle}-{n}")
            await asyncio.sleep(PAUSE)
        requests = await self.healthy.wait_for(known + EVENTS * HEALTHY, timeout=120)
        sql = (
            "SELECT v.delivery_id, e.found_at FROM verdicts v JOIN events e ON e.id = v.event_id"
            " WHERE v.delivery_id IN (SELECT value FROM json_each(?))"
        )
        ids = [request.headers["webhook-id"] for request in requests[known:]]
        found = dict(self.site.query(sql, f"[{','.join(map(repr, ids))}]".replace("'", '"')))
        return [
            (request.at - datetime.fromisoformat(found[identity])).total_seconds() * 1000
            for identity, request in zip(ids, requests[known:], strict=True)
        ]

    @property
    def unsent(self) -> int:
        """What did not arrive at a healthy endpoint, or not once."""
        arrived = {request.headers["webhook-id"] for request in self.healthy.requests}
        return abs(CYCLES * EVENTS * HEALTHY - len(arrived)) + len(self.healthy.requests) - len(arrived)

    async def _other_endpoint(self) -> str:
        """The url of the one that is dead, or in the control healthy."""
        if self.kind == "refused":
            async with HttpSink() as closed:
                return closed.url
        sink = await self._stack.enter_async_context(HttpSink())
        if self.kind != CONTROL:
            sink.answer = HANG if self.kind == "hanging" else 500
        return sink.url


if __name__ == "__main__":
    asyncio.run(main("dead_endpoint", measure))
