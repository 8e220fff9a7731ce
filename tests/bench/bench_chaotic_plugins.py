"""Ten chaotic plugins at once beside a healthy webhook: how long the webhook waits, against a control in the same run.

Two daemons run side by side, each with a log, a state DB, a healthy webhook and ten more configs of one drop-in plugin
(tests/isolation/chaos.py), five of them isolated. In the one they raise, exit, hang, answer nonsense and leak, and the
five in processes of their own block their loop, print without end, leave by os._exit, crash and eat memory. In the
control the same configs are in the same places, isolated or not, and those whose deliveries fail over there raise an
ordinary Retry here: what is compared is how they fail, and not that there are others, or that they fail.

Failures come to one daemon after the other, in short turns and a random order: what else the machine does meets both.
The next turn begins when what the one before set off has been sent and printed, so that the control does not pay for
it. Latency is from the beginning of the poll that found an event (events.found_at) to its whole arrival at the webhook.
A cycle of turns gives one p99 per daemon, of enough events that it is not their worst; the ratio is the median of the
cycles'. With one turn of ten seconds for each daemon, on a machine that others use too, seven ratios of the same two
daemons lay between 0.5 and 1.8: whoever was at work beside it decided.
"""

from __future__ import annotations

import asyncio
import math
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

CYCLES = 15  # the median of seven lay between 1.04 and 1.22 in three runs of the same code
TURNS = 4
EVENTS = 50
"""Of each turn; a cycle has those of TURNS."""

PAUSE = 0.05
"""Seconds between two failures: slow enough that the deliveries of each are no load for the control."""

GOAL = 1.1
CHAOS = Path(__file__).parents[1] / "isolation" / "chaos.py"
CONTROL, CHAOTIC = "ten that fail in order", "ten chaotic ones"

AS_INSTALLED = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONUNBUFFERED": ""}
"""An installed package has its bytecode, which each start of a process needs, and a unit buffers what is printed."""

INSIDE = {
    "raise": "KeyError: 'oops'",
    "sys.exit": "SystemExit: 3",
    "hang": "no answer within 1 s",
    "nonsense": "",
    "leak": "",
}
ISOLATED = {
    "block": "no answer within 1 s",
    "os._exit": "exit status 7",
    "crash": "killed by SIGSEGV",
    "eat memory": "MemoryError",
    "print": "",
}
"""What each does, and how the history is to explain it; empty where it is odd, but sent: what a channel returns or
prints is no error."""

REASONS = INSIDE | ISOLATED
TIMEOUTS = {"print": "20s", "eat memory": "20s"}
"""The rest have a second. Who prints without end is slowed down by who reads it, and is to be let off by that alone;
who eats memory is to end where there is no more, and not before, on a busy machine too."""


async def measure(seed: int) -> Report:
    chance = random.Random(seed)
    waits: dict[str, list[float]] = {kind: [] for kind in (CONTROL, CHAOTIC)}
    async with AsyncExitStack() as stack:
        daemons = [await stack.enter_async_context(Watched(kind)) for kind in waits]
        for cycle in range(1, CYCLES + 1):
            waited: dict[str, list[float]] = {kind: [] for kind in waits}
            for turn in range(TURNS):
                for daemon in chance.sample(daemons, len(daemons)):
                    waited[daemon.kind] += await daemon.turn(f"{cycle}-{turn}")
            for kind, values in waited.items():
                waits[kind].append(percentile(values))
            say(f"cycle {cycle}: p99 " + ", ".join(f"{kind} {waits[kind][-1]:.1f} ms" for kind in waits))
        lives = all(daemon.process.returncode is None for daemon in daemons)
        ends = {daemon.kind: {does: daemon.ends(does) for does in REASONS} for daemon in daemons}
    return _report(waits, ends, lives=lives)


def percentile(values: list[float], at: float = 0.99) -> float:
    """The value that this part of them does not exceed, by nearest rank."""
    return sorted(values)[math.ceil(len(values) * at) - 1]


Ends = dict[str, Counter[str]]
"""By what a config does: what the history says of its attempts that ended, and how often; "" where they were sent."""


def _report(waits: dict[str, list[float]], ends: dict[str, Ends], *, lives: bool) -> Report:
    ratio = middle([chaotic / each for each, chaotic in zip(waits[CONTROL], waits[CHAOTIC], strict=True)])
    figures: dict[str, Any] = {f"{kind}: p99 of a cycle, median, ms": middle(waits[kind], 2) for kind in waits}
    figures |= {"ratio": ratio}
    for kind, each in ends.items():
        figures |= {f"{kind}: attempts that failed": sum(_failed(found).total() for found in each.values())}
    chaotic = ends[CHAOTIC]
    figures |= {f"attempts that failed: {does}": _failed(found).total() for does, found in chaotic.items()}
    figures |= {f"explained as: {does}": _explanation(does, found) for does, found in chaotic.items()}
    odd = [does for does, found in chaotic.items() if not _as_it_should(does, found)]
    claims = {
        f"the healthy webhook's p99 is within {GOAL} of the control": ratio <= GOAL,
        "the daemon lives": lives,
        f"each that fails is explained by what it does, and each that is odd is sent{': not ' * bool(odd)}"
        + ", ".join(odd): not odd,
    }
    notes = [
        f"{CYCLES} cycles of {TURNS} turns of {EVENTS} failures to each daemon, {1 / PAUSE:g} a second",
        "five of the ten are isolated in both",
        "in the control those that fail over there raise Retry: a breaker slows both down, as it should",
    ]
    return Report(figures, claims, notes)


def _failed(found: Counter[str]) -> Counter[str]:
    return Counter({reason: count for reason, count in found.items() if reason})


def _explanation(does: str, found: Counter[str]) -> str:
    """How the history explains it, in its own words; else what it says most often."""
    own = [reason for reason in found if reason and REASONS[does] and REASONS[does] in reason]
    return next(iter([*own, *(reason for reason, _ in _failed(found).most_common(1))]), "")


def _as_it_should(does: str, found: Counter[str]) -> bool:
    """Whether what it does is what the history says; where that is no error, whether nothing failed."""
    if not REASONS[does]:
        return found[""] > 0 and not _failed(found)
    return REASONS[does] in _explanation(does, found) and not found[""]


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
        others = [self._config(does, isolate=does in ISOLATED) for does in REASONS]
        configs = [webhook("healthy", self.healthy.url), *others]
        daemon = {"plugins_dir": str(plugins)}
        self.site.write(sources=[self.jobs.source("jobs")], notifications=configs, daemon=daemon)
        self.process = await self._stack.enter_async_context(Process(self.site.file, **AS_INSTALLED))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    def _config(self, does: str, *, isolate: bool) -> dict[str, Any]:
        in_order = "fail" if REASONS[does] else "well"
        options = {"does": does if self.kind == CHAOTIC else in_order}
        group = {"window": "0s"}
        config = {"name": does, "notification_type": "chaos", "isolate": isolate, "config": options, "group": group}
        return {**config, "timeout": TIMEOUTS.get(does, "1s")}

    async def turn(self, name: str) -> list[float]:
        """Some failures; the milliseconds that each took to the healthy webhook."""
        known = len(self.healthy.requests)
        for n in range(EVENTS):
            self.jobs.add("error", "no such order", job=f"job {name}-{n}")
            await asyncio.sleep(PAUSE)
        requests = [each for each in await self._arrived(known + EVENTS) if each.json()["event_type"] == "sync_error"]
        while self._at_work():
            await asyncio.sleep(0.2)
        return [self._waited(request) for request in requests[-EVENTS:]]

    def _at_work(self) -> int:
        """How much those that do not fail have still to send."""
        names = ", ".join(f"'{does}'" for does, reason in REASONS.items() if not reason)
        return int(
            self.site.value(
                "SELECT count(*) FROM deliveries d JOIN notification_configs c ON c.id = d.config_id"
                f" WHERE d.state IN ('pending', 'sending', 'retrying') AND c.name IN ({names})"
            )
        )

    async def _arrived(self, count: int) -> list[Request]:
        return await self.healthy.wait_for(count, timeout=120)

    def _waited(self, request: Request) -> float:
        sql = "SELECT e.found_at FROM verdicts v JOIN events e ON e.id = v.event_id WHERE v.delivery_id = ?"
        found_at = datetime.fromisoformat(self.site.value(sql, request.headers["webhook-id"]))
        return (request.at - found_at).total_seconds() * 1000

    def ends(self, config: str) -> Counter[str]:
        """What the history says of the attempts of one config that ended; "" where they were sent."""
        attempts = [each for each in self.site.attempts(config) if each["finished_at"]]
        return Counter("" if each["result"] == "sent" else each["error"] or "?" for each in attempts)


if __name__ == "__main__":
    asyncio.run(main("chaotic_plugins", measure))
