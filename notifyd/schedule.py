"""When each source is polled: APScheduler, and a guard against jumps of the wall clock that it keeps time by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, tzinfo

import structlog
from apscheduler.job import Job
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from notifyd.errors import NotifydError
from notifyd.settings import Cron

log = structlog.get_logger("notifyd.schedule")

_LOOK_AT_CLOCK = 1.0
_JUMP = 2.0


class Schedule:
    """Jobs that run at once, then by interval or cron; never twice at a time, and never skipped for being late."""

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
        )
        self._guard: asyncio.Task[None] | None = None
        self._running: set[asyncio.Future[None]] = set()

    def add(self, job: Callable[[], Awaitable[None]], every: timedelta | Cron, timezone: tzinfo, name: str) -> None:
        """Run `job` now and then at every interval, or whenever the cron expression says in `timezone`."""
        trigger = every.trigger(timezone) if isinstance(every, Cron) else IntervalTrigger(seconds=every.total_seconds())
        self._scheduler.add_job(self._one_at_a_time(job, name), trigger, name=name, next_run_time=datetime.now(UTC))

    def start(self) -> None:
        """Begin, on the running loop."""
        self._scheduler.start()
        self._guard = asyncio.create_task(self._watch_clock(), name="clock guard")

    async def stop(self) -> None:
        """Start no more jobs, and wait for those at work."""
        if self._guard:
            self._guard.cancel()
        self._scheduler.pause()
        if self._running:
            await asyncio.wait(self._running)
        self._scheduler.shutdown(wait=False)

    def _one_at_a_time(self, job: Callable[[], Awaitable[None]], name: str) -> Callable[[], Awaitable[None]]:
        """A job that is longer than its interval just misses turns, without APScheduler's warning at each."""
        busy = False

        async def run() -> None:
            nonlocal busy
            if busy:
                return
            busy, done = True, asyncio.get_running_loop().create_future()
            self._running.add(done)
            try:
                await job()
            except NotifydError as error:
                log.error("a job could not be done; its next turn tries again", job=name, error=str(error))
            finally:
                busy = False
                self._running.discard(done)
                done.set_result(None)

        return run

    async def _watch_clock(self) -> None:
        """After the clock was set back an hour, an interval job would sleep that hour: it is armed anew."""
        offset = time.time() - time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_AT_CLOCK)
            drift, offset = time.time() - time.monotonic() - offset, time.time() - time.monotonic()
            if abs(drift) > _JUMP:
                jobs: list[Job] = self._scheduler.get_jobs()
                for job in jobs:
                    job.modify(next_run_time=datetime.now(UTC))
