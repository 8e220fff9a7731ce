"""A dead endpoint beside a healthy one: how long the healthy one waits, against controls in the same run.

Five daemons run side by side, each with a log, a state DB and a healthy endpoint of its own. They differ in their
second config: its endpoint refuses connections, hangs, answers 500 for ever, or, in the control, is healthy too, so
that only its death makes a difference; a last one has no second config at all. Failures come to one daemon after
another, about a second each, in a random order, so that whatever else this machine does meets all of them alike.

Latency is from the beginning of the poll that found an event (events.found_at) to its whole arrival at the healthy
endpoint: detection, planning, the commit, the claim and the request, but not the wait for the poll, which no
endpoint can change. A cycle gives one median per daemon; the ratio is the median of the cycles' ratios.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Self

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.report import Report, main, middle, say
from tests.sinks.http import HANG, HttpSink, Request
from tests.sinks.log import JobLog
from tests.system.process import Process
from tests.system.site import Site, webhook

CYCLES = 40
EVENTS = 40
PAUSE = 0.02
"""Seconds between two failures: about fifty a second while it is a daemon's turn."""

GOAL = 1.1
LIMIT = 1.25
"""Against no second config at all: what it costs to plan and keep its deliveries is in there too."""

DEAD = ("refused", "hanging", "500 for ever")
CONTROL, ALONE = "both healthy", "no second config"
KINDS = (CONTROL, ALONE, *DEAD)


async def measure(seed: int) -> Report:
    chance = random.Random(seed)
    medians: dict[str, list[float]] = {kind: [] for kind in KINDS}
    async with AsyncExitStack() as stack:
        daemons = [await stack.enter_async_context(Watched(kind)) for kind in KINDS]
        for cycle in range(1, CYCLES + 1):
            for daemon in chance.sample(daemons, len(daemons)):
                medians[daemon.kind].append(middle(await daemon.turn(cycle)))
            if cycle % 10 == 0:
                say(f"cycle {cycle}: " + ", ".join(f"{kind} {middle(medians[kind], 2)} ms" for kind in KINDS))
        attempts = {daemon.kind: len(daemon.site.attempts("other")) for daemon in daemons}
    return _report(medians, attempts)


def _report(medians: dict[str, list[float]], attempts: dict[str, int]) -> Report:
    against = {control: {kind: _ratio(medians[kind], medians[control]) for kind in DEAD} for control in KINDS[:2]}
    figures: dict[str, float] = {f"{kind}: median latency, ms": middle(medians[kind], 2) for kind in KINDS}
    figures |= {f"{kind}: ratio to “{control}”": against[control][kind] for control in against for kind in DEAD}
    figures |= {f"{kind}: attempts at the second endpoint": attempts[kind] for kind in DEAD}
    claims = {
        f"beside a dead endpoint ({kind}), the median latency is within {GOAL} of the control": (
            against[CONTROL][kind] <= GOAL and against[ALONE][kind] <= LIMIT
        )
        for kind in DEAD
    }
    return Report(figures, claims, [f"{CYCLES} cycles of {EVENTS} failures to each daemon, {1 / PAUSE:g} a second"])


def _ratio(values: list[float], control: list[float]) -> float:
    return middle([value / other for value, other in zip(values, control, strict=True)])


class Watched:
    """One daemon, and its healthy endpoint."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.site = Site(Path(self._stack.enter_context(tempfile.TemporaryDirectory())))
        self.jobs = self._stack.enter_context(JobLog(self.site.folder / "jobs.db"))
        self.healthy = await self._stack.enter_async_context(HttpSink())
        configs = [webhook("healthy", self.healthy.url)]
        if self.kind != ALONE:
            configs.insert(0, webhook("other", await self._second_endpoint()))
        self.site.write(sources=[self.jobs.source("jobs")], notifications=configs)
        await self._stack.enter_async_context(Process(self.site.file))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def turn(self, cycle: int) -> list[float]:
        """Some failures; the milliseconds that each took to the healthy endpoint."""
        known = len(self.healthy.requests)
        for n in range(EVENTS):
            self.jobs.add("error", "no such order", job=f"job {cycle}-{n}")
            await asyncio.sleep(PAUSE)
        requests = await self.healthy.wait_for(known + EVENTS, timeout=60)
        return [self._waited(request) for request in requests[known:]]

    def _waited(self, request: Request) -> float:
        sql = "SELECT e.found_at FROM verdicts v JOIN events e ON e.id = v.event_id WHERE v.delivery_id = ?"
        found_at = datetime.fromisoformat(self.site.value(sql, request.headers["webhook-id"]))
        return (request.at - found_at).total_seconds() * 1000

    async def _second_endpoint(self) -> str:
        """Its url."""
        if self.kind == "refused":
            async with HttpSink() as closed:
                return closed.url
        sink = await self._stack.enter_async_context(HttpSink())
        if self.kind != CONTROL:
            sink.answer = HANG if self.kind == "hanging" else 500
        return sink.url


if __name__ == "__main__":
    asyncio.run(main("dead_endpoint", measure))
