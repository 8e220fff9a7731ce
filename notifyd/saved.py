"""The configs that were made through the API: out of the state DB, onto the roster, and live at once.

The state DB is what counts. `apply` makes the roster agree with one of its rows; a start does so with all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from notifyd.clock import Clock
from notifyd.errors import NotifydError
from notifyd.roster import Roster, identity_of
from notifyd.settings import Body, BodyReader, NotificationSettings, Settings, sqlite_path
from notifyd.store import configs, outbox, precedence
from notifyd.store.configs import StoredConfig
from notifyd.store.database import Database
from notifyd.store.sealing import Seal
from notifyd.store.thread import StoreThread

BEGINS_WITHIN = 15.0
"""Seconds that a test has to begin, beside what else its config has to send."""

LONGEST_TEST = 60.0
"""Seconds after which nobody waits for a test any more, however long its config may take."""

log = structlog.get_logger("notifyd.saved")


class Sending(Protocol):
    """What of the sender is needed here."""

    def wake(self) -> None: ...
    async def drained(self, config_id: str) -> None: ...
    def attempted(self, delivery_id: str) -> Awaitable[None]: ...


class SavedConfigs:
    """See the module's docstring. `problems` says, by id, why a config that is stored cannot be used."""

    def __init__(self, settings: Settings, store: StoreThread, roster: Roster, sending: Sending, clock: Clock) -> None:
        self.store, self.roster, self.sending, self.clock = store, roster, sending, clock
        key = settings.security.key
        self.seal = Seal(sqlite_path(settings.daemon.state), key.reveal() if key else None)
        self.reader = BodyReader(settings.registry, settings.shared)
        self.problems: dict[str, str] = {}
        self._one_at_a_time = asyncio.Lock()

    async def start(self) -> None:
        """Take on every config there is. StoreError where the key of their secrets is wrong or gone."""
        await self.store(configs.cancel_unsaved, self.clock())
        for stored in await self.store(configs.listing, provisioned=False):
            await self._take_on(stored)
        await self.cancel_idle()

    async def apply(self, identity: str) -> None:
        """A config was made, changed or deleted: from now on it counts as it is stored."""
        async with self._one_at_a_time:
            stored = await self.store(configs.get, identity)
            if stored is None:
                self.problems.pop(identity, None)
                await self._remove(identity)
            else:
                await self._take_on(stored)

    def body(self, stored: StoredConfig) -> Body:
        """A config as it was written, with its secrets."""
        shown = {
            "name": stored.name,
            "notification_type": stored.notification_type,
            "enabled": stored.enabled,
            "config": stored.config,
            "filters": stored.filters,
            "group": stored.group,
            "system": stored.system,
            **stored.others,
        }
        own = json.loads(self.seal.open(stored.sealed, stored.name)) if stored.sealed else stored.config
        return Body(shown, own)

    def settings_of(self, stored: StoredConfig) -> NotificationSettings:
        """A config as it is used. NotifydError where its plugin is gone, or it is right no more."""
        return self.reader.again(self.body(stored), stored.id)

    async def cancel_idle(self) -> None:
        """Whatever came in for a config while it went: it is cancelled, and says why."""
        await self.store(configs.cancel_idle, self.clock())

    async def test(self, notification: NotificationSettings) -> str:
        """Send one test, and wait for the attempt. The id of its delivery. It is not tried again: somebody is waiting."""
        identity = identity_of(notification)
        patience = min(BEGINS_WITHIN + notification.timeout.total_seconds(), LONGEST_TEST)
        async with self._lane(notification):
            delivery = await self.store(_enqueue, identity, notification.name, self.clock)
            attempted = self.sending.attempted(delivery)
            self.sending.wake()
            await _within(patience, attempted)
            await self.store(outbox.cancel_delivery, delivery, "a test is not tried again", self.clock())
        return delivery

    # -- one config ------------------------------------------------------------------------------

    async def _take_on(self, stored: StoredConfig) -> None:
        """Put it on the roster; one that cannot be used is said, and shown, and does not vanish."""
        self.problems.pop(stored.id, None)
        body = self.body(stored)  # a wrong key is no fault of this config's alone
        try:
            notification = await asyncio.to_thread(self.reader.again, body, stored.id)
            if stored.enabled:
                await self.roster.put(notification, self.sending.drained)
        except NotifydError as error:
            self.problems[stored.id] = str(error)
            log.error("a config made through the API cannot be used", config=stored.name, why=str(error))
            await self._remove(stored.id)
        else:
            if not stored.enabled:
                await self._remove(stored.id)

    async def _remove(self, identity: str) -> None:
        leaving = self.roster.remove(identity, self.sending.drained)
        await self.cancel_idle()
        if leaving:
            # What was in flight may fail, and would wait to be tried again.
            leaving.add_done_callback(lambda _: self._soon(self.cancel_idle()))

    @asynccontextmanager
    async def _lane(self, notification: NotificationSettings) -> AsyncIterator[None]:
        """The config's own lane; for one that is off, or was never saved, a lane for as long as the test takes."""
        identity = identity_of(notification)
        if identity in self.roster.lanes:
            yield
            return
        await self.roster.put_lane(notification)
        lane = self.roster.lanes[identity]
        try:
            yield
        finally:
            if self.roster.lanes.get(identity) is lane and all(g.recipient.id != identity for g in self.roster.gates):
                self.roster.remove(identity, self.sending.drained)
