"""Deliveries a second of notifyd, Alertmanager and Apprise, taking turns at one kind of sink on the same cores.

notifyd: `notifyd run`, with `window = "0s"`: rows that fail are committed to its sync log in one transaction, and each
becomes a POST of the webhook channel, whose attempt is recorded durably. Alertmanager (Debian's package
prometheus-alertmanager): as many alerts are posted to its API, in batches of 500; `group_by: ['...']` makes each a
notification, and `group_wait: 0s` sends it at once. It keeps what it sent in memory. Apprise: a Python loop over
`notify` with a JSON endpoint, on as many threads as are best for it; it records nothing.

"per second" is at the sink, from the first arrival to the last, and "in all" counts from the moment when the rows are
committed, or the first alert is posted. The sink is a process of its own (fast_sink.py), whose ceiling is measured too.
On a machine that does other work, CPU per delivery says more: it is what the kernel says that the process used.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.report import HERE, Report, main, middle, say
from tests.sinks.log import JobLog
from tests.system.process import Process
from tests.system.site import Site, free_port, until, webhook

COUNTS = {10_000: 3, 50_000: 1}
"""How many deliveries, and in how many rounds."""

APPRISE_DELIVERIES = 3_000
THREADS = (1, 2, 4, 8)
BATCH = 500
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Took:
    """What so many deliveries took. Threads are those of the process, the loop's first."""

    deliveries: int
    sending: float  # seconds from the first arrival to the last
    in_all: float
    cpu: float = math.nan
    threads: tuple[float, ...] = ()
    peak: float = math.nan  # MB resident

    @property
    def rate(self) -> float:
        return (self.deliveries - 1) / self.sending

    @property
    def cpu_each(self) -> float:
        """Microseconds."""
        return self.cpu / self.deliveries * 1e6


class Sink:
    """fast_sink.py, running."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process, self.port = process, port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def told(self) -> dict[str, Any]:
        """What has come so far."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(b"?\n")
        return dict(json.loads(await self._process.stdout.readline()))

    async def wait_for(self, count: int, timeout: float) -> dict[str, Any]:
        """The same, once so many different notifications came."""
        deadline = time.monotonic() + timeout
        while (told := await self.told())["told"] < count:
            assert time.monotonic() < deadline, f"{told['told']} of {count} came within {timeout} s"
            await asyncio.sleep(0.1)
        return told


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    script = str(HERE / "fast_sink.py")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, script, stdin=pipe, stdout=pipe)
    assert process.stdout
    try:
        yield Sink(process, int(await process.stdout.readline()))
    finally:
        process.kill()
        await process.wait()


# -- who sends ---------------------------------------------------------------------------------------


async def by_notifyd(count: int, *, fast: bool) -> Took:
    """Each delivery has to be recorded as sent, and the books have to balance."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        async with sink() as there:
            with JobLog(site.folder / "jobs.db") as jobs:
                site.write(
                    daemon={"fast": fast}, sources=[jobs.source("jobs")], notifications=[webhook("hook", there.url)]
                )
                async with Process(site.file) as process:
                    before = cpu(process.pid)
                    jobs.write(JobLog.row("error", "no such order", job=f"job {n}") for n in range(count))
                    begun = time.monotonic()
                    told = await there.wait_for(count, 600)
                    await until(lambda: _sent(site) == count, 60, "every attempt recorded")
                    used, threads, peak = cpu(process.pid) - before, cpu_of_threads(process.pid), resident(process.pid)
                    await process.end()
        assert told["requests"] == count, "some were sent twice"
        assert site.imbalances() == []
        return Took(count, told["last"] - told["first"], told["last"] - begun, used, threads, peak)


def _sent(site: Site) -> int:
    return int(site.value("SELECT COUNT(*) FROM notification_history WHERE result = 'sent'"))


_ROUTES = """
route: {{receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1h, repeat_interval: 24h}}
receivers: [{{name: hook, webhook_configs: [{{url: '{url}/hook', send_resolved: false}}]}}]
"""


async def by_alertmanager(count: int) -> Took:
    """Its own defaults, but for the route; without a cluster, which it would look for."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    assert program, "apt-get install prometheus-alertmanager"
    with tempfile.TemporaryDirectory() as folder:
        async with sink() as there:
            routes = Path(folder) / "routes.yml"
            routes.write_text(_ROUTES.format(url=there.url))
            port = free_port()
            process = await asyncio.create_subprocess_exec(
                program,
                f"--config.file={routes}",
                f"--storage.path={folder}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
                "--log.level=error",
            )
            try:
                await until(lambda: _answers(f"http://127.0.0.1:{port}/-/ready"), 30, "Alertmanager is ready")
                before, begun = cpu(process.pid), time.monotonic()
                await asyncio.to_thread(_post_alerts, f"http://127.0.0.1:{port}/api/v2/alerts", count)
                told = await there.wait_for(count, 600)
                used, peak = cpu(process.pid) - before, resident(process.pid)
            finally:
                process.kill()
                await process.wait()
    return Took(count, told["last"] - told["first"], told["last"] - begun, used, (), peak)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _post_alerts(url: str, count: int) -> None:
    for first in range(0, count, BATCH):
        alerts = [_alert(number) for number in range(first, min(first + BATCH, count))]
        request = urllib.request.Request(url, json.dumps(alerts).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200


def _alert(number: int) -> dict[str, Any]:
    """What notifyd tells of a row, as an alert."""
    return {
        "labels": {
            "alertname": "sync_error", "severity": "error", "connector_id": "quickbooks", "job": f"job {number}",
            "source": "jobs", "error_type": "sync_failure",
        },
        "annotations": {
            "title": f"Sync Error: quickbooks - job {number}", "message": "no such order",
            "suggested_actions": "Check the error message and the record that it names. Retry the sync.",
        },
        "startsAt": datetime.now(UTC).isoformat(),
    }  # fmt: skip


async def by_apprise(count: int, threads: int) -> Took:
    """It says itself how long it took; the sink only sees that all came."""
    async with sink() as there:
        url = f"json://127.0.0.1:{there.port}/hook"
        arguments = (sys.executable, str(HERE / "bare_apprise.py"), url, str(count), str(threads))
        process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
        told, _ = await process.communicate()
        assert process.returncode == 0
        assert (await there.told())["told"] == count
    return Took(count, float(told), float(told))


async def ceiling(count: int = 100_000) -> float:
    """Requests a second of the sink alone."""
    async with sink() as there:
        arguments = (sys.executable, str(HERE / "fast_sink.py"), "--ceiling", str(there.port), str(count))
        client = await asyncio.create_subprocess_exec(*arguments)
        assert await client.wait() == 0
        told = await there.told()
    return float(told["requests"] / (told["last"] - told["first"]))


# -- what the kernel says ----------------------------------------------------------------------------


def cpu(pid: int) -> float:
    """Seconds, user and system."""
    return _ticks(Path(f"/proc/{pid}/stat"))


def cpu_of_threads(pid: int) -> tuple[float, ...]:
    """The same by thread, the first thread first, and then by how much."""
    first, *others = (_ticks(task / "stat") for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=_number))
    return (first, *sorted(others, reverse=True))


def _number(path: Path) -> int:
    return int(path.name)


def _ticks(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> float:
    """MB at most, so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


# -- the bench ---------------------------------------------------------------------------------------


async def measure(seed: int) -> Report:
    """The seed chooses nothing here: every row and every alert is the same, but for its number."""
    report = Report(notes=[f"load average at the start {os.getloadavg()[0]:.1f}"])
    report.figures["the sink alone, requests/s"] = round(await ceiling())
    threads = await _best_threads()
    report.figures["Apprise, threads that are best for it"] = threads
    for count, rounds in COUNTS.items():
        report.figures |= await _compared(count, rounds, threads)
    best, most = min(COUNTS), max(COUNTS)
    figures = report.figures
    report.claims = {
        "the sink is not the bottleneck": figures["the sink alone, requests/s"]
        > 2 * max(value for name, value in figures.items() if name.endswith(": per second")),
        "at least 800/s without the extra": figures[f"{best:,}, notifyd: per second"] >= 800,
        "with the extra, at least Alertmanager's rate": figures[f"{best:,}, notifyd[fast] to Alertmanager"] >= 1,
        "with the extra, at least 1.5 times Alertmanager's rate": figures[f"{best:,}, notifyd[fast] to Alertmanager"]
        >= 1.5,
        "with the extra, faster than Apprise": figures[f"{best:,}, notifyd[fast] to Apprise"] > 1,
        f"below 200 MB resident with {most:,}": figures[f"{most:,}, notifyd[fast]: MB resident at most"] < 200,
    }
    report.notes.append(f"load average at the end {os.getloadavg()[0]:.1f}")
    report.notes.append("Alertmanager keeps in memory what it sent, and Apprise nothing; notifyd syncs it to disk")
    return report


async def _best_threads() -> int:
    rates = {threads: (await by_apprise(APPRISE_DELIVERIES // 4, threads)).rate for threads in THREADS}
    return max(THREADS, key=lambda threads: rates[threads])


async def _compared(count: int, rounds: int, threads: int) -> dict[str, Any]:
    took: dict[str, list[Took]] = defaultdict(list)
    for number in range(1, rounds + 1):
        for who, run in {
            "Alertmanager": by_alertmanager(count),
            "notifyd[fast]": by_notifyd(count, fast=True),
            "notifyd": by_notifyd(count, fast=False),
            "Apprise": by_apprise(APPRISE_DELIVERIES, threads),
        }.items():
            took[who].append(await run)
            one = took[who][-1]
            say(f"{count:,}, round {number}, {who}: {one.rate:,.0f}/s, {one.cpu_each:,.0f} µs CPU, {one.peak:,.0f} MB")
    return _figures(f"{count:,}", took)


def _figures(count: str, took: dict[str, list[Took]]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for who, all_of in took.items():
        figures[f"{count}, {who}: per second"] = round(middle([one.rate for one in all_of]))
        if who == "Apprise":
            continue
        figures[f"{count}, {who}: seconds in all"] = middle([one.in_all for one in all_of], 1)
        figures[f"{count}, {who}: µs CPU for each"] = round(middle([one.cpu_each for one in all_of]))
        figures[f"{count}, {who}: MB resident at most"] = round(max(one.peak for one in all_of))
    for who in ("notifyd[fast]", "notifyd"):
        last = took[who][-1]
        figures[f"{count}, {who}: µs CPU for each, by thread"] = [
            round(seconds / last.deliveries * 1e6) for seconds in last.threads if seconds / last.deliveries > 5e-6
        ]
        for other in ("Alertmanager", "Apprise"):
            ratios = [mine.rate / theirs.rate for mine, theirs in zip(took[who], took[other], strict=True)]
            figures[f"{count}, {who} to {other}"] = middle(ratios, 2)
    return figures


if __name__ == "__main__":
    asyncio.run(main("alertmanager", measure))
