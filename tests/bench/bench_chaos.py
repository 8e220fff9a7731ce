"""Every fault of an endpoint against every channel, both ways out; then a storm of them on one config.

The table: tests/system/chaos.py, once with the extra `fast` and once without. The storm: an endpoint that draws a
fault for each request, until it has drawn so many; all the time rows go on failing. What each attempt's row in the
history says has to be what was drawn for it, in order; what is not refused for good arrives in the end.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.report import Report, main, say
from tests.sinks.http import HttpSink, Reply, Request
from tests.sinks.log import JobLog
from tests.system.chaos import HTTP_FAULTS, Chaos, Ended, HttpFault
from tests.system.process import Process
from tests.system.site import Site, until, webhook

ROWS = 400
FAULTS = 250
"""How many requests of the storm get one; more than half, at first."""

_PLAIN = [fault for fault in HTTP_FAULTS if fault.place == "sink" and not fault.certificate]
DRAWN = [fault for fault in _PLAIN if not fault.tls_is_expected and not fault.after]  # a Retry-After holds all of them
FINAL = ("sent", "dead")


async def measure(seed: int) -> Report:
    report = Report(notes=[f"load average at the start {os.getloadavg()[0]:.1f}"])
    for fast in (True, False):
        await _table(report, fast)
    await _storm(report, seed)
    return report


async def _table(report: Report, fast: bool) -> None:
    way = "httptools on uvloop" if fast else "httpcore on asyncio"
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Path(folder), fast)
        await chaos.run()
    for line in (*chaos.wrong, *chaos.leaks, *chaos.imbalances):
        say(f"✗ {way}: {line}")
    report.figures[f"{way}: faults tried"] = len(chaos.ended)
    report.figures[f"{way}: what each ended as"] = dict(sorted(Counter(each.verdict for each in chaos.ended).items()))
    report.figures[f"{way}: fault → outcome: reason"] = dict(map(_line, chaos.ended))
    report.claims[f"{way}: each fault ends as documented, with a real reason"] = not chaos.wrong
    report.claims[f"{way}: no secret is in anything that people can see"] = not chaos.leaks
    report.claims[f"{way}: the books balance"] = not chaos.imbalances


def _line(ended: Ended) -> tuple[str, str]:
    """Without ports, which are others each time."""
    status = f" {ended.status}" if ended.status else ""
    reason = re.sub(r":\d{4,5}\b", ":PORT", ended.reason)
    reason = reason if len(reason) <= 160 else f"{reason[:159]}…"
    return f"{ended.channel}, {ended.fault}", f"{ended.verdict}{status}" + (f": {reason}" if reason else "")


# -- the storm ---------------------------------------------------------------------------------------


class Storm:
    """What the endpoint drew for each delivery, in order."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.drawn: dict[str, list[HttpFault]] = defaultdict(list)
        self.left = FAULTS

    def answer(self, request: Request) -> Any:
        """A fault while there are any, and else 200."""
        fault = self.random.choice(DRAWN) if self.left and self.random.random() < 0.6 else HTTP_FAULTS[0]
        self.left -= fault is not HTTP_FAULTS[0]
        self.drawn[request.headers["webhook-id"]].append(fault)
        reply: Reply = fault.answer(request) if callable(fault.answer) else fault.answer  # type: ignore[assignment]
        return reply


async def _storm(report: Report, seed: int) -> None:
    storm = Storm(seed)
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        async with HttpSink() as sink:
            sink.answer = storm.answer
            with JobLog(site.folder / "jobs.db") as jobs:
                site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url, timeout="1s")])
                async with Process(site.file) as process:
                    for number in range(ROWS):
                        jobs.add("error", "no such order", job=f"job {number}")
                        await asyncio.sleep(0.005)
                    await until(lambda: len(site.states("hook")) == ROWS, 120, "a delivery for each row")
                    await until(lambda: set(site.states("hook")) <= set(FINAL), 900, "an end of each")
                    await process.end()
        wrong = list(_not_as_drawn(site, storm))
        attempts, states = site.attempts("hook"), Counter(site.states("hook"))
        imbalances = site.imbalances()
    for line in (*wrong[:20], *imbalances):
        say(f"✗ the storm: {line}")
    report.figures |= {
        "the storm: deliveries": ROWS,
        "the storm: attempts": len(attempts),
        "the storm: faults drawn": FAULTS - storm.left,
        "the storm: ended as": dict(states),
    }
    report.claims |= {
        "the storm: each attempt's row says what was drawn for it": not wrong,
        "the storm: what was not refused for good arrived": states["sent"] == _arrived(storm),
        "the storm: the books balance": not imbalances,
    }


def _not_as_drawn(site: Site, storm: Storm) -> Iterator[str]:
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for attempt in site.attempts("hook"):
        rows[attempt["delivery_id"]].append(attempt)
    for delivery, attempts in rows.items():
        drawn = storm.drawn[delivery]
        if len(drawn) != len(attempts):
            yield f"{delivery}: {len(attempts)} attempts, and {len(drawn)} requests"
        for fault, attempt in zip(drawn, attempts, strict=False):
            words = fault.words.replace("2 s", "1 s")
            if attempt["result"] != fault.verdict or not re.search(words, attempt["error"] or ""):
                yield f"{fault.name}: {attempt['result']}: {attempt['error']}"


def _arrived(storm: Storm) -> int:
    return sum(faults[-1].verdict == "sent" for faults in storm.drawn.values())


if __name__ == "__main__":
    asyncio.run(main("chaos", measure))
