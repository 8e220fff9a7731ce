"""When each source is polled: APScheduler, and a guard against jumps of the wall clock that it keeps time by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo

import structlog
from apscheduler.job import Job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from notifyd.clock import since_beat, until_beat
from notifyd.errors import NotifydError
from notifyd.observe.delays import Delays
from notifyd.settings import Cron

log = structlog.get_logger("notifyd.schedule")

_LOOK_AT_CLOCK = 1.0
_JUMP = 2.0
_ENDS_WITHIN = 5.0
"""Seconds that what is at work has to end after the clock was set back."""


class Turns:
    """One job's turns. One that is longer than its interval just misses some, without APScheduler's warning at each."""

    def __init__(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        self.work, self.name = work, name
        self.job: Job
        self._idle = asyncio.Event()
        self._idle.set()
        self.ended = False
        self._failing = ""

    async def take(self) -> None:
        """Do the work, unless it is at work already."""
        if not self._idle.is_set() or self.ended:
            return
        self._idle.clear()
        try:
            await self.work()
        except NotifydError as error:
            self._say(str(error))
        else:
            self._say("")
        finally:
            self._idle.set()

    def _say(self, error: str) -> None:
        """Say once what is wrong, and once that it is not any more."""
        if error and error != self._failing:
            log.error("a job could not be done; its next turn tries again", job=self.name, error=error)
        elif self._failing and not error:
            log.info("the job is done again", job=self.name)
        self._failing = error

    async def at_work(self) -> None:
        """Wait for the turn at hand, if there is one."""
        await self._idle.wait()

    async def end(self) -> None:
        """Take no more turns, and wait for the one at hand."""
        self.ended = True
        with suppress(JobLookupError):  # a cron expression may have no next time any more
            self.job.remove()
        await self.at_work()


class Schedule:
    """Jobs that run at once, then by interval or cron; never twice at a time, and never skipped for being late.

    `set_back` is told by how much, when the clock `wall` (seconds) was set back.
    """

    def __init__(
        self,
        set_back: Callable[[timedelta], Awaitable[None]] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._set_back, self._wall = set_back, wall
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
        )
        self.delays = Delays()  # of the event loop
        self._guard: asyncio.Task[None] | None = None
        self._turns: list[Turns] = []

    def add(self, job: Callable[[], Awaitable[None]], every: timedelta | Cron, timezone: tzinfo, name: str) -> Turns:
        """Run `job` now and then at every interval, or whenever the cron expression says in `timezone`."""
        trigger = every.trigger(timezone) if isinstance(every, Cron) else IntervalTrigger(seconds=every.total_seconds())
        turns = Turns(job, name)
        turns.job = self._scheduler.add_job(turns.take, trigger, name=name, next_run_time=_at_once())
        self._turns = [*(each for each in self._turns if not each.ended), turns]
        return turns

    def start(self) -> None:
        """Begin, on the running loop."""
        self._scheduler.start()
        self._guard = asyncio.create_task(self._watch_clock(), name="clock guard")

    async def stop(self) -> None:
        """Start no more jobs, and wait for those at work."""
        if self._guard:
            self._guard.cancel()
        self._scheduler.pause()
        for turns in self._turns:
            await turns.at_work()
        self._scheduler.shutdown(wait=False)

    async def _watch_clock(self) -> None:
        """After the clock was set back an hour, an interval job would sleep that hour: it is armed anew."""
        before = self._wall() - time.monotonic()
        while True:
            due = time.monotonic() + (pause := until_beat(_LOOK_AT_CLOCK))
            await asyncio.sleep(pause)
            self.delays.add(time.monotonic() - due)
            offset = self._wall() - time.monotonic()  # read once: a clock that is set meanwhile is seen next time
            drift, before = offset - before, offset
            if drift < -_JUMP:
                await self._turns_end()  # what began by the clock before may yet plan by it
                await self._tell(timedelta(seconds=-drift))
            if abs(drift) > _JUMP:
                jobs: list[Job] = self._scheduler.get_jobs()
                for job in jobs:
                    job.modify(next_run_time=_at_once())

    async def _turns_end(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_ENDS_WITHIN):
                for turns in self._turns:
                    await turns.at_work()

    async def _tell(self, by: timedelta) -> None:
        if self._set_back is None:
            return
        try:
            await self._set_back(by)
        except NotifydError as error:
            log.error("the clock was set back, and what waits could not be made due earlier", error=str(error))


def _at_once() -> datetime:
    """The last beat: it is due, and so are those that follow, by an interval, at a beat."""
    return datetime.now(UTC) - timedelta(seconds=since_beat())
