"""The wiring: settings in, two loops and a server running, and a clean way out.

Daemon(settings, clock).start() … .reload(settings) … .stop()       embeddable, one per state DB
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from notifyd import unwatched
from notifyd.clock import Clock, utc_now
from notifyd.core.rules import Origin
from notifyd.custody import Custody
from notifyd.errors import NotifydError
from notifyd.failing import ChannelWatch
from notifyd.heartbeat import Heartbeat
from notifyd.lane import blamed
from notifyd.observe import health as parts
from notifyd.observe.health import Health
from notifyd.observe.stalls import StallWatch
from notifyd.poller import Poller
from notifyd.right_of_way import RightOfWay
from notifyd.roster import Roster, identity_of
from notifyd.saved import SavedConfigs
from notifyd.schedule import Schedule
from notifyd.sender import Sender, capacities
from notifyd.settings import NotificationSettings, Settings, SourceSettings, sqlite_path
from notifyd.sources import read_up_to
from notifyd.store import configs, cursors, expiry, outbox, retention, set_back
from notifyd.store.configs import Provisioned
from notifyd.store.database import Database, StoreError, open_database
from notifyd.store.errors import refusal
from notifyd.store.lock import Lock
from notifyd.store.readers import Readers
from notifyd.store.thread import StoreThread

if TYPE_CHECKING:
    from notifyd.web.reach import Reach
    from notifyd.web.server import HttpServer

GRACE = 20.0
"""Seconds that attempts in flight have to end when the daemon stops."""

TRIED_WITHIN = 20.0
"""Seconds that the sources have to answer for the first time; who has not by then does not hold up the rest."""

_LOOK_AT_CHANNELS = timedelta(seconds=5)
_LOOK_AT_LEASES = timedelta(seconds=30)
_LOOK_AT_STATE = timedelta(seconds=30)
_PRUNE = timedelta(hours=1)
_LOOKED_AT = 0.2
_AGAIN = 1.0

log = structlog.get_logger("notifyd")


@dataclass(frozen=True)
class Patience:
    """Seconds. `lock`: how long another writer of the state DB is waited for; what fails then is tried again.

    `turn`: how often every part turns, however idle. `resumed`: how long a reload that failed waits for the old
    settings to go on, before it answers all the same.
    """

    lock: float = 5.0
    turn: float = 2.0
    resumed: float = 5.0


class Daemon:
    """One daemon on one state DB. `start` raises NotifydError with one line if it cannot run."""

    def __init__(self, settings: Settings, clock: Clock = utc_now, patience: Patience | None = None) -> None:
        self.settings, self.clock, self.patience = settings, clock, patience or Patience()
        self.health = Health()
        self.schedule = Schedule(self._clock_set_back)
        self.right_of_way = RightOfWay()
        self.stalls = StallWatch(blamed)
        self.store: StoreThread
        self.roster = Roster(settings)
        self.health.unopened = lambda: self.roster.unopened
        self.sender: Sender
        self.channels: ChannelWatch
        self.saved: SavedConfigs
        self.custody: Custody
        self.server: HttpServer
        self.pollers: list[Poller] = []
        self._lasting = AsyncExitStack()
        self._working = AsyncExitStack()
        self._resuming: asyncio.Task[None] | None = None
        self._stopping = False
        self._grace = GRACE

    async def start(self) -> None:
        """Bring everything up: state and sender, then what the settings say; where one cannot, nothing stays up."""
        async with AsyncExitStack() as lasting:
            await self._open_state(lasting)
            self._start_schedule(lasting)
            self._start_sender(lasting)
            await self._begin()
            self.stalls.start()  # not before: imports and migrations take their time, and nobody is kept waiting
            lasting.callback(self.stalls.stop)
            self._lasting = lasting.pop_all()

    async def reload(self, settings: Settings) -> None:
        """Take on other settings for the same state DB. NotifydError where they cannot be used: the old ones go on.

        The sender goes on all the while: nothing in flight is cut off, dropped or repeated.
        """
        old = self.settings
        await self.store(Database.try_write)  # while nothing has been touched yet
        await self._end_resuming()
        await self._working.aclose()
        try:
            await self._take_on(settings)
            await self._begin()
        except NotifydError:
            await self._take_on(old)
            self._resuming = asyncio.create_task(self._begin_again(), name="old settings")
            await asyncio.wait([self._resuming], timeout=self.patience.resumed)
            raise

    async def stop(self, grace: float = GRACE) -> None:
        """Take everything down in reverse, which loses nothing: what is in flight ends, the rest stays queued."""
        self._stopping, self._grace = True, grace
        await self._end_resuming()
        await self._working.aclose()
        await self._lasting.aclose()

    # -- what lasts ------------------------------------------------------------------------------

    async def _open_state(self, lasting: AsyncExitStack) -> None:
        """Become the one daemon of the state DB, bring it up to date, and take up what a crash left in flight."""
        lasting.callback(_locked(sqlite_path(self.settings.daemon.state)).release)
        database = open_database(self.settings.daemon.state, create=True, patience=self.patience.lock)
        database.close()  # the connection of this thread; the store thread makes its own
        if database.kept:
            log.info("the state DB was upgraded; as it was before, it is kept", copy=str(database.kept))
        self.store = StoreThread(database, self._store_turned)
        lasting.push_async_callback(self.store.close)
        self.custody = Custody(self.store, self.clock, self.health)
        lasting.push_async_callback(self.custody.close)
        if sending := await self.store(outbox.in_flight):
            mend = "should it happen again, set isolate = true on the one to blame"
            log.error("the daemon ended without notice while it was sending", to=sending, mend=mend)
        left = await self.store(outbox.take_up, self.clock(), all_leases=True)
        if left:
            log.info("taking up deliveries that were in flight when the daemon stopped", count=left)

    def _store_turned(self, note: str) -> None:
        self.health.turn(parts.STORE, self.clock(), ok=not note, note=note)

    def _start_schedule(self, lasting: AsyncExitStack) -> None:
        self.schedule.add(self._turn, timedelta(seconds=self.patience.turn), UTC, name="turn")
        self.schedule.add(self.custody.look, _LOOK_AT_STATE, UTC, name="state file")
        self.schedule.add(self._take_up_expired, _LOOK_AT_LEASES, UTC, name="leases")
        self.schedule.add(self._prune, _PRUNE, UTC, name="retention")
        self.schedule.start()
        lasting.push_async_callback(self.schedule.stop)

    def _start_sender(self, lasting: AsyncExitStack) -> None:
        lasting.push_async_callback(self.roster.close)
        self.sender = Sender(self.roster.lanes, self.store, self.clock, self.health)
        self.saved = SavedConfigs(self.settings, self.store, self.roster, self.sender, self.clock)
        self.channels = ChannelWatch(self.roster.gates, self.store, self.clock, self.health, self.sender.wake)
        self.schedule.add(self._look_at_channels, _LOOK_AT_CHANNELS, UTC, name="channels")
        self.sender.start()
        lasting.push_async_callback(self._stop_sender)

    async def _stop_sender(self) -> None:
        await self.sender.stop(self._grace)

    # -- what the settings say -------------------------------------------------------------------

    async def _begin(self) -> None:
        """Bring up what the settings say; what may fail comes first, and leaves nothing up where it does."""
        async with AsyncExitStack() as working:
            self.sender.most_per_minute = self.settings.daemon.max_notifications_per_minute
            await self._open_lanes()
            await self.saved.start()
            await self._start_server(working)
            await self._provision()
            self._start_polling(working)
            self._start_heartbeat(working)
            self._working = working.pop_all()

    async def _begin_again(self) -> None:
        """With settings that were in use before. Only the state DB can be against it, and not for ever."""
        said = ""
        while not self._stopping:
            try:
                await self._begin()
            except NotifydError as error:
                if (text := str(error)) != said:
                    log.error("the old settings cannot go on yet; it is tried again every second", problem=text)
                said = text
                await asyncio.sleep(_AGAIN)
            else:
                return

    async def _end_resuming(self) -> None:
        if self._resuming:
            self._resuming.cancel()
            await asyncio.wait([self._resuming])
            self._resuming = None

    async def _take_on(self, settings: Settings) -> None:
        """Use these settings from now on. A config that they do not have is told no more."""
        gone = _identities(self.settings) - _identities(settings)
        self.settings = settings
        self.roster.take_on(settings)
        self.saved = SavedConfigs(settings, self.store, self.roster, self.sender, self.clock)
        for identity in gone:
            self.roster.remove(identity, self.sender.drained, then=self.saved.cancel_idle)
        self.health.keep(source.name for source in settings.sources if source.enabled)

    async def _open_lanes(self) -> None:
        enabled = [notification for notification in self.settings.notifications if notification.enabled]
        await self.roster.put_all(enabled, self.sender.drained)

    async def _provision(self) -> None:
        provisioned = [_provisioned(notification) for notification in self.settings.notifications]
        await self.store(configs.provision, provisioned, self.clock())
        await self.store(cursors.name, [(source.name, source.id) for source in self.settings.sources])
        recipients = [gate.recipient for gate in self.roster.gates]
        await unwatched.close(self.settings.sources, recipients, self.store, self.clock(), self.sender.wake)

    def _start_polling(self, working: AsyncExitStack) -> None:
        self.pollers = [self._poller(source) for source in self.settings.sources if source.enabled]
        for poller in self.pollers:
            turns = self.schedule.add(
                partial(self.poll, poller), poller.settings.poll, poller.settings.timezone, name=f"poll {poller.name}"
            )
            working.push_async_callback(poller.close)
            working.push_async_callback(turns.end)
        working.callback(self._stop_reading)

    async def poll(self, poller: Poller) -> None:
        """One poll of a source, before all that is asked over HTTP."""
        with self.right_of_way.taken():
            await poller.poll()

    def _stop_reading(self) -> None:
        """All at once: each may have a batch at hand."""
        for poller in self.pollers:
            poller.stop()

    def _poller(self, source: SourceSettings) -> Poller:
        return Poller(
            source,
            _origin(source),
            self.settings.rules.detection(),
            self.roster.gates,
            self.store,
            self.clock,
            self.health,
            found=self.sender.wake,
        )

    async def _start_server(self, working: AsyncExitStack) -> None:
        if self.settings.http.listen:
            from notifyd.web.app import create_app  # half a second and 25 MB that a daemon without HTTP does not need
            from notifyd.web.server import HttpServer

            readers = Readers(sqlite_path(self.settings.daemon.state))
            working.push_async_callback(readers.close)
            await readers.start()
            self.server = HttpServer(create_app(self._reach(readers)), self.settings.http, self.right_of_way)
            await self.server.start()
            working.push_async_callback(self.server.stop)

    def _start_heartbeat(self, working: AsyncExitStack) -> None:
        if self.settings.heartbeat.url:
            heartbeat = Heartbeat(self.settings.heartbeat, self.health)
            heartbeat.start()
            working.push_async_callback(heartbeat.stop)

    def _reach(self, readers: Readers) -> Reach:
        """What the web may reach: it sees nothing else of the daemon."""
        from notifyd.web.reach import Reach

        return Reach(
            settings=self.settings,
            health=self.health,
            delays=self.schedule.delays,
            expected=self.expected,
            clock=self.clock,
            read=readers,
            write=self.store,
            saved=self.saved,
            wake=self.sender.wake,
            read_up_to=read_up_to,
        )

    # -- now and then ----------------------------------------------------------------------------

    async def _turn(self) -> None:
        """The scheduler is at work; and so is the store thread, which may have nothing else to do."""
        self.health.turn(parts.SCHEDULER, self.clock(), ok=True)
        self.store.nudge()

    async def _look_at_channels(self) -> None:
        await self.channels.look(self.settings.rules.detection())

    async def _clock_set_back(self, by: timedelta) -> None:
        """What was planned by the clock before must not wait as much longer."""
        moved = await self.store(set_back.earlier, by, self.clock())
        log.warning(
            "the clock was set back; what waits is due as much earlier", seconds=by.total_seconds(), count=moved
        )
        self.sender.wake()

    async def _take_up_expired(self) -> None:
        """Should a channel outlive its lease against all rules, its delivery is not lost; what is too old expires."""
        if await self.store(outbox.take_up, self.clock(), all_leases=False):
            self.sender.wake()
        await self.store(expiry.sweep, capacities(self.roster.lanes).values(), self.clock())
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

    async def ready(self, within: float = TRIED_WITHIN) -> None:
        """Wait until every source was tried once, successfully or not, and the sender has turned.

        One that does not answer `within` that many seconds was tried, too: the others are told of it.
        """
        until = time.monotonic() + within
        while waiting := self.health.waiting_for(self.expected):
            if time.monotonic() > until:
                log.warning("ready, but not everything has answered yet", waiting_for=waiting)
                return
            await asyncio.sleep(0.02)


def _locked(path: Path) -> Lock:
    """The lock comes before the database: a newer notifyd must not upgrade it beneath one that runs."""
    lock = Lock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        taken = lock.take() or _take_again(lock)
    except OSError as error:
        raise refusal(path, error) from None
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
        forget_after=source.forget_after or None,
        rewatch=source.rewatch or None,
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


def _identities(settings: Settings) -> set[str]:
    return {identity_of(notification) for notification in settings.notifications if notification.enabled}
