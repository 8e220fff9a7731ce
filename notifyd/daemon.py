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
from datetime import UTC, timedelta
from typing import Any

import structlog

from notifyd.clock import Clock, utc_now
from notifyd.core.rules import Origin
from notifyd.errors import NotifydError
from notifyd.filtering import Gate, gate_of
from notifyd.lane import Lane, lane_of
from notifyd.observe import health as parts
from notifyd.observe.health import Health
from notifyd.observe.sd_notify import notify
from notifyd.poller import Poller
from notifyd.schedule import Schedule
from notifyd.sender import Sender
from notifyd.settings import NotificationSettings, Settings, SourceSettings, format_duration, load
from notifyd.sources import open_source
from notifyd.store import configs, cursors, outbox, retention
from notifyd.store.configs import Provisioned
from notifyd.store.database import Lock, StoreError, open_database, path_of
from notifyd.store.thread import StoreThread
from notifyd.web.app import create_app
from notifyd.web.server import HttpServer

GRACE = 20.0
"""Seconds that attempts in flight have to end when the daemon stops."""

_LOOK_AT_LEASES = timedelta(seconds=30)
_PRUNE = timedelta(hours=1)

log = structlog.get_logger("notifyd")


class Daemon:
    """One daemon on one state DB. `start` raises NotifydError with one line if it cannot run."""

    def __init__(self, settings: Settings, clock: Clock = utc_now) -> None:
        self.settings, self.clock = settings, clock
        self.health = Health()
        self.schedule = Schedule()
        self.store: StoreThread
        self.lanes: dict[str, Lane] = {}
        self.sender: Sender
        self.pollers: list[Poller] = []
        self.server: HttpServer | None = None
        self._lock: Lock | None = None

    async def start(self) -> None:
        """Bring everything up: state, lanes, sender, pollers, server."""
        await self._open_state()
        try:
            await self._open_lanes()
            self._start_sender()
            self._start_polling()
            await self._start_server()
        except BaseException:
            await self._close_state()
            raise

    async def stop(self, grace: float = GRACE) -> None:
        """Take everything down in the order that loses nothing: what is in flight ends, the rest stays queued."""
        if self.server:
            await self.server.stop()
        await self.schedule.stop()
        await self.sender.stop(grace)
        for poller in self.pollers:
            await poller.close()
        for lane in self.lanes.values():
            await lane.close()
        await self._close_state()

    # -- the parts -------------------------------------------------------------------------------

    async def _open_state(self) -> None:
        """Become the one daemon of the state DB, bring it up to date, and take up what a crash left in flight."""
        path = path_of(self.settings.daemon.state)
        database = open_database(self.settings.daemon.state, create=True)
        self._lock = Lock(path)
        if not self._lock.take():
            raise StoreError(f"another notifyd runs on the state DB {path}; one daemon per state DB")
        self.store = StoreThread(database)
        database.close()  # the connection of this thread; the store thread makes its own
        now = self.clock()
        left = await self.store(outbox.take_up, now, all_leases=True)
        if left:
            log.info("taking up deliveries that were in flight when the daemon stopped", count=left)
        await self.store(configs.provision, [_provisioned(n) for n in self.settings.notifications], now)
        await self.store(cursors.name, [(source.name, source.id) for source in self.settings.sources])

    async def _close_state(self) -> None:
        await self.store.close()
        if self._lock:
            self._lock.release()

    async def _open_lanes(self) -> None:
        for notification in self.settings.notifications:
            if notification.enabled:
                lane = lane_of(notification, self.settings.registry)
                await lane.open()
                self.lanes[lane.recipient.id] = lane

    def _start_sender(self) -> None:
        self.sender = Sender(self.lanes, self.store, self.clock, self.health)
        self.sender.start()
        self.schedule.add(self._take_up_expired, _LOOK_AT_LEASES, UTC, name="leases")
        self.schedule.add(self._prune, _PRUNE, UTC, name="retention")

    def _start_polling(self) -> None:
        gates = [gate_of(n, self.settings.registry) for n in self.settings.notifications if n.enabled]
        for source in self.settings.sources:
            if source.enabled:
                poller = self._poller(source, gates)
                self.pollers.append(poller)
                self.schedule.add(poller.poll, source.poll, source.timezone, name=f"poll {source.name}")
        self.schedule.start()

    def _poller(self, source: SourceSettings, gates: list[Gate]) -> Poller:
        return Poller(
            open_source(source),
            _origin(source),
            self.settings.rules.detection(),
            gates,
            self.store,
            self.clock,
            self.health,
            found=self.sender.wake,
        )

    async def _start_server(self) -> None:
        if self.settings.http.listen:
            self.server = HttpServer(create_app(self.health, self.expected, self.clock), self.settings.http.listen)
            await self.server.start()

    async def _take_up_expired(self) -> None:
        """Should a channel outlive its lease against all rules, its delivery is not lost."""
        if await self.store(outbox.take_up, self.clock(), all_leases=False):
            self.sender.wake()

    async def _prune(self) -> None:
        """Remove what is older than the retention, batch by batch, letting polls and sends in between."""
        while await self.store(retention.prune, self.clock(), self.settings.daemon.retention):  # noqa: ASYNC110
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
    log.info("started", state=settings.daemon.state, sources=len(daemon.pollers), configs=len(daemon.lanes))
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
        await daemon.stop()
        daemon = Daemon(settings, daemon.clock)
        await daemon.start()
        log.info("reloaded", sources=len(daemon.pollers), configs=len(daemon.lanes))
    notify("READY=1", "STATUS=running")
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


def _origin(source: SourceSettings) -> Origin:
    return Origin(source.name, source.id, rows=source.rows, run_ends_after=source.run_ends_after)


def _provisioned(notification: NotificationSettings) -> Provisioned:
    """As the state DB keeps it: a secret of the options reads `<secret>`."""
    return Provisioned(
        name=notification.name,
        notification_type=notification.notification_type,
        enabled=notification.enabled,
        config=notification.options.model_dump_json(),
        filters=json.dumps(notification.filters, default=str),
        group=json.dumps({"window": format_duration(notification.group.window), "by": list(notification.group.by)}),
        system=notification.system,
    )
