"""The process: signals, reload, and what systemd and the commands are told.

SIGTERM, SIGINT    end what is in flight, and stop
SIGHUP             read the settings file again; one with problems changes nothing
$NOTIFY_SOCKET     READY, RELOADING, STOPPING, a STATUS that tells the truth, and WATCHDOG while everything turns
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from notifyd import fast
from notifyd.clock import utc_now
from notifyd.daemon import Daemon, Patience
from notifyd.errors import NotifydError
from notifyd.model import rfc3339
from notifyd.observe import logs
from notifyd.observe.sd_notify import notify
from notifyd.observe.status import Standing, Troubles, line
from notifyd.observe.watchdog import Watchdog
from notifyd.settings import Settings, load, sqlite_path
from notifyd.settings.outline import outline
from notifyd.store import lanes, notice, outbox
from notifyd.store.database import Database, StoreError
from notifyd.store.errors import StateNotNow
from notifyd.store.notice import Notice
from notifyd.threads import Worker

T = TypeVar("T")

_STORE_ANSWERS = 1.0
"""Seconds; the status line does without it after that."""

_AGAIN, _PATIENCE = 1.0, 60.0
"""Seconds between two tries to start, and for how long systemd is asked to wait for the next."""

log = structlog.get_logger("notifyd")


async def serve(settings: Settings, patience: Patience | None = None) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reads the settings file again. Raises NotifydError if it cannot start."""
    await Service(settings, patience or Patience()).run()


class Service:
    """One daemon for the life of the process, whatever its settings become."""

    def __init__(self, settings: Settings, patience: Patience) -> None:
        self.daemon = Daemon(settings, patience=patience)
        self.watchdog = Watchdog(patience.turn)
        self._state = sqlite_path(settings.daemon.state)
        self._notice = Notice(os.getpid(), rfc3339(utc_now()))
        self._said_stuck: list[str] = []
        self._worker = Worker("settings")

    async def run(self) -> None:
        """See `serve`."""
        stop, reload = _signals()
        if await _unless(stop, self._start()):
            watching = asyncio.create_task(self._started(stop), name="watchdog")
            while await _first(stop, reload) is reload:
                reload.clear()
                await _unless(stop, self._reload())
            watching.cancel()
        notify("STOPPING=1", "STATUS=stopping")
        await self.daemon.stop()
        logs.say_left_out(at_the_end=True)
        log.info("stopped")

    async def _start(self) -> None:
        """Start, as soon as the state DB can be used: to end and be started again would mend neither disk nor lock."""
        said = ""
        while True:
            try:
                return await self.daemon.start()
            except StateNotNow as error:
                if (text := str(error)) != said:
                    log.error("notifyd waits for the state DB; it is tried again every second", problem=text)
                said = text
                notify(f"STATUS=waits for the state DB: {text}", f"EXTEND_TIMEOUT_USEC={_PATIENCE * 1e6:.0f}")
            self.daemon = Daemon(self.daemon.settings, patience=self.daemon.patience)
            await asyncio.sleep(_AGAIN)

    # -- what systemd is told --------------------------------------------------------------------

    async def _started(self, stop: asyncio.Event) -> None:
        """Ready once everything was tried; from then on, keep the watchdog quiet for as long as all is well."""
        daemon = self.daemon
        settings = daemon.settings
        await self._post()
        log.info(
            "started",
            state=settings.daemon.state,
            sources=len(daemon.pollers),
            configs=len(daemon.roster.lanes),
            sends_by=fast.said(fast.chosen(settings.daemon.fast)),
        )
        if await _unless(stop, daemon.ready()):
            notify("READY=1", *await self._lines())
            while True:
                await asyncio.sleep(self.watchdog.pause)
                logs.say_left_out()
                notify(*await self._lines())

    async def _lines(self) -> list[str]:
        stuck = self.daemon.health.stuck(self.watchdog.limit)
        if stuck != self._said_stuck:
            for each in stuck:
                log.critical("stuck: systemd's watchdog is told no more, and will restart notifyd", why=each)
            self._said_stuck = stuck
        standing = await self._standing(stuck)
        if (troubles := tuple(filter(None, standing.troubles[:3]))) != self._notice.troubles:
            await self._post(troubles=troubles)
        return [f"STATUS={line(standing)}", *self.watchdog.lines(stuck)]

    async def _standing(self, stuck: list[str]) -> Standing:
        daemon = self.daemon
        report = daemon.health.report()
        refused = daemon.health.refused
        return Standing(
            sources=len(daemon.pollers),
            failing_sources=sum(not part["ok"] for name, part in report.items() if name.startswith("source:")),
            behind=daemon.health.behind(),
            waiting=await self._ask(outbox.waiting),
            failing_endpoints=len(await self._ask(lanes.open_breakers) or ()),
            troubles=Troubles(
                stuck="; ".join(stuck),
                store=daemon.health.state_trouble(),
                channels="; ".join(daemon.health.unopened_channels()),
                refused=f"settings refused, the old ones go on: {refused[0]}" if refused else "",
            ),
        )

    async def _ask(self, what: Callable[[Database], T]) -> T | None:
        """What the state DB says; None where it does not answer."""
        try:
            async with asyncio.timeout(_STORE_ANSWERS):
                return await self.daemon.store(what)
        except (TimeoutError, StoreError):
            return None

    # -- reload ----------------------------------------------------------------------------------

    async def _reload(self) -> None:
        """A settings file with problems changes nothing; a good one is taken on, and nothing is lost in between."""
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reading the settings again")
        problems: tuple[str, ...] = ()
        try:
            settings = await self._loaded_again()
            await self.daemon.reload(settings)
        except NotifydError as error:
            problems = tuple(str(error).splitlines())
            for problem in problems:
                log.error("the new settings are refused, the old ones go on", problem=problem)
        else:
            logs.configure(settings.daemon.log_level)
            log.info("reloaded", sources=len(self.daemon.pollers), configs=len(self.daemon.roster.lanes))
        self.daemon.health.refused = problems
        self.daemon.health.reloads["refused" if problems else "ok"] += 1
        await self._post(reloads=self._notice.reloads + 1, reloaded_at=rfc3339(utc_now()), problems=problems)
        notify("READY=1", *await self._lines())

    async def _loaded_again(self) -> Settings:
        """The settings file as it is now. Plugins may take their time to be imported, so not on the loop."""
        old = self.daemon.settings
        settings = await self._worker.ask(load, old.path)
        if settings.daemon.state != old.daemon.state:
            raise NotifydError(f"{old.path}: daemon.state: cannot change at a reload: restart notifyd")
        return settings

    async def _post(self, **news: Any) -> None:
        """Put up what the commands are to know. That they do not learn it is no reason to end."""
        settings = self.daemon.settings
        salt = self._notice.outline.get("salt")
        texts = await self._worker.ask(outline, settings.document, settings.registry, salt)
        self._notice = replace(self._notice, outline=texts, **news)
        try:
            notice.post(self._state, self._notice)
        except OSError as error:
            path, why = notice.path_of(self._state), error.strerror or str(error)
            log.warning("the commands will not know how the settings stand", file=str(path), why=why)


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    loop, stop, reload = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    return stop, reload


async def _first(*events: asyncio.Event) -> asyncio.Event:
    """The first of the events that is set; where several are, the first named."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return next(event for event in events if event.is_set())


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether the work was done before it was time to stop; where it was not, it is cancelled, and has ended."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        working.result()
        return True
    working.cancel()
    with suppress(asyncio.CancelledError, NotifydError):
        await working
    return False
