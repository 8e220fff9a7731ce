"""The wiring: settings in, two loops and a server running, and a clean way out.

Daemon(settings, clock).start() … .stop()       embeddable, one per state DB
serve(path)                                     the process: signals, reload, sd_notify
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from notifyd import fast
from notifyd.clock import Clock, utc_now
from notifyd.core.rules import Origin
from notifyd.custody import Custody
from notifyd.errors import NotifydError
from notifyd.observe import health as parts
from notifyd.observe import logs
from notifyd.observe.health import Health
from notifyd.observe.sd_notify import notify
from notifyd.poller import Poller
from notifyd.right_of_way import RightOfWay
from notifyd.roster import Roster
from notifyd.saved import SavedConfigs
from notifyd.schedule import Schedule
from notifyd.sender import Sender
from notifyd.settings import NotificationSettings, Settings, SourceSettings, load, sqlite_path
from notifyd.sources import open_source
from notifyd.store import configs, cursors, outbox, retention
from notifyd.store.configs import Provisioned
from notifyd.store.database import StoreError, open_database
from notifyd.store.lock import Lock
from notifyd.store.readers import Readers
from notifyd.store.thread import StoreThread
from notifyd.web.app import create_app
from notifyd.web.reach import Reach
from notifyd.web.server import HttpServer

GRACE = 20.0
"""Seconds that attempts in flight have to end when the daemon stops."""

_LOOK_AT_LEASES = timedelta(seconds=30)
_LOOK_AT_STATE = timedelta(seconds=30)
_PRUNE = timedelta(hours=1)
_LOOKED_AT = 0.2

log = structlog.get_logger("notifyd")


class Daemon:
    """One daemon on one state DB. `start` raises NotifydError with one line if it cannot run."""

    def __init__(self, settings: Settings, clock: Clock = utc_now) -> None:
        self.settings, self.clock = settings, clock
        self.health = Health()
        self.schedule = Schedule()
        self.right_of_way = RightOfWay()
        self.store: StoreThread
        self.roster = Roster(settings)
        self.sender: Sender
        self.saved: SavedConfigs
        self.custody: Custody
        self.server: HttpServer
        self.pollers: list[Poller] = []
        self._running = AsyncExitStack()
        self._stopping = False
        self._grace = GRACE

    async def start(self) -> None:
        """Bring everything up: state, lanes, sender, pollers, server; where one cannot, nothing stays up."""
        async with AsyncExitStack() as running:
            await self._open_state(running)
            await self._open_lanes(running)
            self._start_sender(running)
            await self._take_on_saved()
            self._start_polling(running)
            await self._start_server(running)
            self._running = running.pop_all()

    async def stop(self, grace: float = GRACE) -> None:
        """Take everything down in reverse, which loses nothing: what is in flight ends, the rest stays queued."""
        self._stopping, self._grace = True, grace
        await self._running.aclose()

    # -- the parts -------------------------------------------------------------------------------

    async def _open_state(self, running: AsyncExitStack) -> None:
        """Become the one daemon of the state DB, bring it up to date, and take up what a crash left in flight."""
        running.callback(_locked(sqlite_path(self.settings.daemon.state)).release)
        database = open_database(self.settings.daemon.state, create=True)
        database.close()  # the connection of this thread; the store thread makes its own
        if database.kept:
            log.info("the state DB was upgraded; as it was before, it is kept", copy=str(database.kept))
        self.store = StoreThread(database)
        running.push_async_callback(self.store.close)
        self.custody = Custody(self.store, self.clock, self.health)
        running.push_async_callback(self.custody.close)
        self.schedule.add(self.custody.look, _LOOK_AT_STATE, UTC, name="state file")
        now = self.clock()
        left = await self.store(outbox.take_up, now, all_leases=True)
        if left:
            log.info("taking up deliveries that were in flight when the daemon stopped", count=left)
        await self.store(configs.provision, [_provisioned(n) for n in self.settings.notifications], now)
        await self.store(cursors.name, [(source.name, source.id) for source in self.settings.sources])

    async def _open_lanes(self, running: AsyncExitStack) -> None:
        running.push_async_callback(self.roster.close)
        for notification in self.settings.notifications:
            if notification.enabled:
                await self.roster.put(notification)

    async def _take_on_saved(self) -> None:
        """The configs that were made through the API, before the first poll."""
        self.saved = SavedConfigs(self.settings, self.store, self.roster, self.sender, self.clock)
        await self.saved.start()

    def _start_sender(self, running: AsyncExitStack) -> None:
        self.sender = Sender(self.roster.lanes, self.store, self.clock, self.health)
        self.sender.start()
        running.push_async_callback(self._stop_sender)
        self.schedule.add(self._take_up_expired, _LOOK_AT_LEASES, UTC, name="leases")
        self.schedule.add(self._prune, _PRUNE, UTC, name="retention")

    async def _stop_sender(self) -> None:
        await self.sender.stop(self._grace)

    def _start_polling(self, running: AsyncExitStack) -> None:
        for source in self.settings.sources:
            if source.enabled:
                poller = self._poller(source)
                self.pollers.append(poller)
                job = partial(self.poll, poller)
                self.schedule.add(job, source.poll, source.timezone, name=f"poll {source.name}")
        self.schedule.start()
        running.push_async_callback(self._stop_polling)

    async def poll(self, poller: Poller) -> None:
        """One poll of a source, before all that is asked over HTTP."""
        with self.right_of_way.taken():
            await poller.poll()

    async def _stop_polling(self) -> None:
        for poller in self.pollers:
            poller.stop()
        await self.schedule.stop()
        for poller in self.pollers:
            await poller.close()

    def _poller(self, source: SourceSettings) -> Poller:
        return Poller(
            open_source(source),
            _origin(source),
            self.settings.rules.detection(),
            self.roster.gates,
            self.store,
            self.clock,
            self.health,
            found=self.sender.wake,
        )

    async def _start_server(self, running: AsyncExitStack) -> None:
        if self.settings.http.listen:
            readers = Readers(sqlite_path(self.settings.daemon.state))
            running.push_async_callback(readers.close)
            await readers.start()
            self.server = HttpServer(create_app(self._reach(readers)), self.settings.http)
            await self.server.start()
            running.push_async_callback(self.server.stop)

    def _reach(self, readers: Readers) -> Reach:
        """What the web may reach: it sees nothing else of the daemon."""
        return Reach(
            settings=self.settings,
            health=self.health,
            expected=self.expected,
            clock=self.clock,
            read=readers,
            write=self.store,
            saved=self.saved,
            wake=self.sender.wake,
            give_way=self.right_of_way.give,
        )

    async def _take_up_expired(self) -> None:
        """Should a channel outlive its lease against all rules, its delivery is not lost."""
        if await self.store(outbox.take_up, self.clock(), all_leases=False):
            self.sender.wake()
        await self.saved.cancel_idle()

    async def _prune(self) -> None:
        """Remove what is older than the retention, batch by batch, letting polls and sends in between."""
        removed, kept = 1, self.settings.daemon
        while removed and not self._stopping:
            removed = await self.store(retention.prune, self.clock(), kept.retention, kept.audit_retention)
            await asyncio.sleep(0.05)

    # -- readiness -------------------------------------------------------------------------------

    @property
    def expected(self) -> list[str]:
        """The parts that turn: every enabled source, and the sender."""
        return [*(parts.source(source.name) for source in self.settings.sources if source.enabled), parts.SENDER]

    async def ready(self) -> None:
        """Wait until every source was tried once, successfully or not, and the sender has turned."""
        while not self.health.ready(self.expected):  # noqa: ASYNC110 (other threads write it)
            await asyncio.sleep(0.02)


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reads the settings file again. Raises NotifydError if it cannot start."""
    stop, reload = _signals()
    daemon = Daemon(settings)
    await daemon.start()
    log.info(
        "started",
        state=settings.daemon.state,
        sources=len(daemon.pollers),
        configs=len(daemon.roster.lanes),
        sends_by=fast.said(fast.chosen(settings.daemon.fast)),
    )
    await _until(daemon.ready(), stop)
    notify("READY=1", "STATUS=running")
    while await _first(stop, reload) is reload:
        reload.clear()
        daemon = await _reload(daemon)
    notify("STOPPING=1", "STATUS=stopping")
    await daemon.stop()
    log.info("stopped")


async def _reload(daemon: Daemon) -> Daemon:
    """A settings file with problems changes nothing; a good one is taken on, and nothing is lost in between."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        settings = _loaded_again(daemon.settings)
    except NotifydError as error:
        for line in str(error).splitlines():
            log.error("the new settings are refused, the old ones go on", problem=line)
    else:
        logs.configure(settings.daemon.log_level)
        daemon = await _replaced(daemon, settings)
    notify("READY=1", "STATUS=running")
    return daemon


async def _replaced(old: Daemon, settings: Settings) -> Daemon:
    """A daemon with the new settings; or, where it cannot start (its port is in use), one with the old."""
    await old.stop()
    daemon = Daemon(settings, old.clock)
    try:
        await daemon.start()
    except NotifydError as error:
        log.error("the new settings cannot be used, the old ones go on", problem=str(error))
        daemon = Daemon(old.settings, old.clock)
        await daemon.start()
    else:
        log.info("reloaded", sources=len(daemon.pollers), configs=len(daemon.roster.lanes))
    return daemon


def _loaded_again(old: Settings) -> Settings:
    settings = load(old.path)
    if settings.daemon.state != old.daemon.state:
        raise NotifydError(f"{old.path}: daemon.state: cannot change at a reload: restart notifyd")
    return settings


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


async def _until(coroutine: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Wait for the coroutine, or until it is time to stop."""
    tasks = [asyncio.create_task(coroutine), asyncio.create_task(stop.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _locked(path: Path) -> Lock:
    """The lock comes before the database: a newer notifyd must not upgrade it beneath one that runs."""
    lock = Lock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        taken = lock.take() or _take_again(lock)
    except OSError as error:
        raise StoreError(f"the state DB {path} cannot be used: {error.strerror} ({error.filename})") from None
    if not taken:
        raise StoreError(f"another notifyd runs on the state DB {path}; one daemon per state DB")
    return lock


def _take_again(lock: Lock) -> bool:
    """A command that looks whether a daemon is alive holds the lock for a moment."""
    time.sleep(_LOOKED_AT)
    return lock.take()


def _origin(source: SourceSettings) -> Origin:
    return Origin(
        source.name,
        source.id,
        rows=source.rows,
        run_ends_after=source.run_ends_after,
        stuck_after=source.stuck_after or None,
    )


def _provisioned(notification: NotificationSettings) -> Provisioned:
    """As the state DB keeps it: as people may see it."""
    tables = dict(notification.shown)
    texts = {name: json.dumps(tables.pop(name, {}), default=str) for name in ("config", "filters", "group")}
    others = {name: value for name, value in tables.items() if name not in Provisioned.__slots__}
    return Provisioned(
        name=notification.name,
        notification_type=notification.notification_type,
        enabled=notification.enabled,
        system=notification.system,
        others=json.dumps(others, default=str),
        **texts,
    )
