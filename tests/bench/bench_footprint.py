"""What the daemon costs while nothing happens, and how much it holds after 10,000 deliveries.

Idle: three sources polled every second, a webhook, and no new rows; the processor time of the process over 30
seconds, as a share of one core. Beside it, in the same seconds, bare_idle.py asks the same three logs with the same
libraries, and does nothing else: what that costs says how slow the machine is. Memory is what the process holds
(VmRSS), once it is ready and after 10,000 deliveries that it sent one by one. The start is from exec to READY=1.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.report import Report, main, middle, say
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.process import Process
from tests.system.site import Site, free_port, webhook

BARE_IDLE = Path(__file__).with_name("bare_idle.py")
STARTS = 5
IDLE_SECONDS = 30
DELIVERIES = 10_000

MEGABYTE = 1024 * 1024


async def measure(_seed: int) -> Report:
    bare = [await _bare_start() for _ in range(STARTS)]
    lean, everything = [await _started(each) for each in (False, True)]
    idle, bare_idle = await _idle()
    say(f"idle: {idle:.2%} of a core, where the bare loop takes {bare_idle:.2%}")
    loaded = await _loaded()
    figures = {
        "start to ready, s": lean.start,
        "start to ready with everything, s": everything.start,
        "start of a bare Python, s": middle(bare),
        "resident once ready, MB": lean.resident,
        "resident once ready with everything, MB": everything.resident,
        f"resident after {DELIVERIES:,} deliveries with everything, MB": round(loaded, 1),
        "idle, share of a core": round(idle, 4),
        "idle, share of a core of the bare loop": round(bare_idle, 4),
        "idle, as a ratio to the bare loop": round(idle / bare_idle, 2),
        "load of the machine (1 min)": round(os.getloadavg()[0], 1),
    }
    claims = {
        "ready within 1 s": lean.start <= 1,
        "at most 60 MB without HTTP, on SQLite": lean.resident <= 60,
        "at most 100 MB with everything": everything.resident <= 100,
        "idle costs at most 0.3 % of a core": idle <= 0.003,
    }
    return Report(
        figures, claims, [f"medians of {STARTS} starts; idle over {IDLE_SECONDS} s; MB are 1024 x 1024 bytes"]
    )


class Start(NamedTuple):
    """Medians of several starts."""

    start: float
    resident: float


async def _started(everything: bool) -> Start:
    starts, sizes = [], []
    for _ in range(STARTS):
        async with _daemon(everything) as (process, _logs, _sink):
            starts.append(process.ready_after)
            sizes.append(_resident(process))
    return Start(middle(starts), middle(sizes, 1))


@asynccontextmanager
async def _daemon(everything: bool) -> AsyncIterator[tuple[Process, list[JobLog], HttpSink]]:
    """A daemon that is ready, its three logs, and the sink of its one config.

    Everything is HTTP, and the extra `fast` where it is installed; without it, the daemon is as a plain install.
    """
    async with AsyncExitStack() as stack:
        site = Site(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        logs = [stack.enter_context(JobLog(site.folder / f"jobs{n}.db")) for n in range(3)]
        sink = await stack.enter_async_context(HttpSink())
        site.write(
            sources=[log.source(log.path.stem, poll="1s") for log in logs],
            notifications=[webhook("hook", sink.url)],
            daemon={} if everything else {"fast": False},
            http={"listen": f"127.0.0.1:{free_port()}" if everything else ""},
        )
        yield await stack.enter_async_context(Process(site.file)), logs, sink


async def _idle() -> tuple[float, float]:
    """The share of a core that the daemon takes, and that of the bare loop."""
    async with _daemon(everything=False) as (process, logs, _sink), _bare_idle(logs) as bare:
        await asyncio.sleep(3)  # what a start costs is over
        pids, begun = (process.pid, bare), time.monotonic()
        spent = [_processor_seconds(pid) for pid in pids]
        await asyncio.sleep(IDLE_SECONDS)
        daemon, control = (_processor_seconds(pid) - before for pid, before in zip(pids, spent, strict=True))
        seconds = time.monotonic() - begun
        return daemon / seconds, control / seconds


@asynccontextmanager
async def _bare_idle(logs: list[JobLog]) -> AsyncIterator[int]:
    """The process id of bare_idle.py, which is at work."""
    command = (sys.executable, str(BARE_IDLE), *(str(log.path) for log in logs))
    python = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert python.stdout is not None
        await python.stdout.readline()
        yield python.pid
    finally:
        python.terminate()
        await python.wait()


async def _loaded() -> float:
    async with _daemon(everything=True) as (process, (log, *_), sink):
        log.write(log.row("error", "no such order", job=f"job {n}") for n in range(DELIVERIES))
        await sink.wait_for(DELIVERIES, timeout=300)
        return _resident(process)


async def _bare_start() -> float:
    begun = time.monotonic()
    python = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
    await python.wait()
    return time.monotonic() - begun


def _processor_seconds(pid: int) -> float:
    """What the process's threads have run for; /proc/PID/stat counts in hundredths, which is a tenth of the figure."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _resident(process: Process) -> float:
    """Megabytes."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


if __name__ == "__main__":
    asyncio.run(main("footprint", measure))
