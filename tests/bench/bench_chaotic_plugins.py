"""Ten chaotic plugins at once beside a healthy webhook: how long the webhook waits, against a control in the same run.

Two daemons run side by side, each with a log, a state DB and a healthy webhook of its own, and ten more configs of one
drop-in plugin (tests/isolation/chaos.py), five of them isolated. In the control all ten do what they should; in the
other they raise, exit, answer nonsense, hang and leak, and the five in processes of their own block their loop, print
without end, leave by os._exit, crash and eat memory. A third daemon has the webhook alone. Failures come to one daemon
after the other, in a random order.

Latency is from the beginning of the poll that found an event (events.found_at) to its whole arrival at the webhook. A
cycle gives one p99 per daemon; the ratio is the median of the cycles' ratios.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.report import Report, main, middle, say
from tests.sinks.http import HttpSink, Request
from tests.sinks.log import JobLog
from tests.system.process import Process
from tests.system.site import Site, webhook

CYCLES = 16
EVENTS = 25
PAUSE = 0.08
"""Seconds between two failures: slow enough that eleven deliveries of each are no load for the control."""

GOAL = 1.1
CHAOS = Path(__file__).parents[1] / "isolation" / "chaos.py"
INSIDE = ("raise", "sys.exit", "nonsense", "hang", "leak")
ISOLATED = ("block", "print", "os._exit", "crash", "eat memory")
CONTROL, CHAOTIC, ALONE = "ten that do well", "ten chaotic ones", "no others at all"
NOTHING_WRONG = ("nonsense", "leak", "print")  # odd, but sent: what a channel returns or prints is no error


async def measure(seed: int) -> Report:
    chance = random.Random(seed)
    waits: dict[str, list[float]] = {kind: [] for kind in (CONTROL, CHAOTIC, ALONE)}
    async with AsyncExitStack() as stack:
        daemons = [await stack.enter_async_context(Watched(kind)) for kind in waits]
        for cycle in range(1, CYCLES + 1):
            for daemon in chance.sample(daemons, len(daemons)):
                waits[daemon.kind].append(percentile(await daemon.turn(cycle)))
            if cycle % 6 == 0:
                say(f"cycle {cycle}: p99 " + ", ".join(f"{kind} {middle(waits[kind], 1)} ms" for kind in waits))
        lives = all(daemon.process.returncode is None for daemon in daemons)
        errors = {does: daemons[1].errors(does) for does in (*INSIDE, *ISOLATED)}
    return _report(waits, errors, lives=lives)


def percentile(values: list[float], at: float = 0.99) -> float:
    """The value that this part of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * at))]


def _report(waits: dict[str, list[float]], errors: dict[str, Counter[str]], *, lives: bool) -> Report:
    ratio = {
        other: middle([chaotic / each for each, chaotic in zip(waits[other], waits[CHAOTIC], strict=True)])
        for other in (CONTROL, ALONE)
    }
    figures: dict[str, Any] = {f"{kind}: p99 of a cycle, median, ms": middle(waits[kind], 2) for kind in waits}
    figures |= {f"ratio to “{other}”": ratio[other] for other in ratio}
    figures |= {f"attempts that failed: {does}": sum(found.values()) for does, found in errors.items()}
    figures |= {f"explained as: {does}": next(iter(found), "") for does, found in errors.items()}
    unexplained = [does for does, found in errors.items() if does not in NOTHING_WRONG and not all([found, *found])]
    claims = {
        f"the healthy webhook's p99 is within {GOAL} of the control": ratio[CONTROL] <= GOAL,
        "the daemon lives": lives,
        f"every failure is explained in the history{': ' + ', '.join(unexplained) if unexplained else ''}": (
            not unexplained
        ),
    }
    notes = [f"{CYCLES} cycles of {EVENTS} failures to each daemon, {1 / PAUSE:g} a second"]
    return Report(figures, claims, notes)


class Watched:
    """One daemon, its healthy webhook, and its ten other configs."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.site = Site(Path(self._stack.enter_context(tempfile.TemporaryDirectory())))
        self.jobs = self._stack.enter_context(JobLog(self.site.folder / "jobs.db"))
        self.healthy = await self._stack.enter_async_context(HttpSink())
        plugins = self.site.folder / "plugins"
        plugins.mkdir()
        shutil.copy(CHAOS, plugins)
        badly = () if self.kind == ALONE else (*INSIDE, *ISOLATED)
        others = [self._config(does, isolate=does in ISOLATED) for does in badly]
        configs = [webhook("healthy", self.healthy.url), *others]
        daemon = {"plugins_dir": str(plugins)}
        self.site.write(sources=[self.jobs.source("jobs")], notifications=configs, daemon=daemon)
        self.process = await self._stack.enter_async_context(Process(self.site.file))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    def _config(self, does: str, *, isolate: bool) -> dict[str, Any]:
        options = {"does": does if self.kind == CHAOTIC else "well"}
        group = {"window": "0s"}
        config = {"name": does, "notification_type": "chaos", "isolate": isolate, "config": options, "group": group}
        return {**config, "timeout": "1s"}

    async def turn(self, cycle: int) -> list[float]:
        """Some failures; the milliseconds that each took to the healthy webhook."""
        known = len(self.healthy.requests)
        for n in range(EVENTS):
            self.jobs.add("error", "no such order", job=f"job {cycle}-{n}")
            await asyncio.sleep(PAUSE)
        requests = [each for each in await self._arrived(known + EVENTS) if each.json()["event_type"] == "sync_error"]
        return [self._waited(request) for request in requests[-EVENTS:]]

    async def _arrived(self, count: int) -> list[Request]:
        return await self.healthy.wait_for(count, timeout=120)

    def _waited(self, request: Request) -> float:
        sql = "SELECT e.found_at FROM verdicts v JOIN events e ON e.id = v.event_id WHERE v.delivery_id = ?"
        found_at = datetime.fromisoformat(self.site.value(sql, request.headers["webhook-id"]))
        return (request.at - found_at).total_seconds() * 1000

    def errors(self, config: str) -> Counter[str]:
        """What the history says of the attempts of one config that failed, and how often."""
        attempts = self.site.attempts(config)
        return Counter(a["error"] or "" for a in attempts if a["finished_at"] and a["result"] != "sent")


if __name__ == "__main__":
    asyncio.run(main("chaotic_plugins", measure))
