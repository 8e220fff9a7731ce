"""The configs that were made through the API: out of the state DB, onto the roster, and live at once.

The state DB is what counts. `apply` makes the roster agree with one of its rows; a start does so with all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol
from weakref import WeakValueDictionary

import structlog

from notifyd.clock import Clock
from notifyd.errors import NotifydError
from notifyd.roster import Roster, identity_of
from notifyd.settings import Body, BodyReader, NotificationSettings, Settings, sqlite_path
from notifyd.store import configs, edits, trials
from notifyd.store.configs import StoredConfig
from notifyd.store.edits import Outdated, Written
from notifyd.store.sealing import Seal
from notifyd.store.thread import StoreThread
from notifyd.store.trail import Actor, Change

BEGINS_WITHIN = 15.0
"""Seconds that a test has to begin, beside what else its config has to send."""

LONGEST_TEST = 60.0
"""Seconds after which nobody waits for a test any more, however long its config may take."""

_TRIES = 10

Edit = Callable[[Mapping[str, Any]], Any]
"""From a config as people see it to the body that is to take its place."""

Agrees = Callable[[StoredConfig], bool]
"""Whether a config is still what an edit was made for."""

log = structlog.get_logger("notifyd.saved")


class Missing(NotifydError):
    """There is no such config."""


class ReadOnly(NotifydError):
    """The config belongs to the settings file."""


class Sending(Protocol):
    """What of the sender is needed here."""

    def wake(self) -> None: ...
    async def drained(self, config_id: str) -> None: ...
    def attempted(self, delivery_id: str) -> asyncio.Future[None]: ...


class SavedBodies:
    """What configs of the API say: sealed when they are written, and out of their seal again."""

    def __init__(self, settings: Settings) -> None:
        key = settings.security.key
        self.seal = Seal(sqlite_path(settings.daemon.state), key.reveal() if key else None)
        self.reader = BodyReader(settings.registry, settings.shared)

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

    def written(self, raw: Any, identity: str, before: Body | None) -> tuple[Written, Body]:
        """A body as it is stored. Blocks: plugins check their options, and may take their time."""
        _, body = self.reader.read(raw, identity, before)
        rest = dict(body.shown)
        written = Written(
            name=rest.pop("name"),
            notification_type=rest.pop("notification_type"),
            enabled=rest.pop("enabled"),
            config=json.dumps(rest.pop("config")),
            filters=json.dumps(rest.pop("filters")),
            group=json.dumps(rest.pop("group")),
            system=rest.pop("system"),
            others=json.dumps(rest),
            sealed=self.seal.seal(json.dumps(body.own)),
        )
        return written, body


class SavedConfigs:
    """See the module's docstring. `problems` says, by id, why a config that is stored cannot be used."""

    def __init__(self, settings: Settings, store: StoreThread, roster: Roster, sending: Sending, clock: Clock) -> None:
        self.settings, self.store, self.roster, self.sending, self.clock = settings, store, roster, sending, clock
        self.bodies = SavedBodies(settings)
        self.problems: dict[str, str] = {}
        self._one_at_a_time = asyncio.Lock()
        self._testing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def start(self) -> None:
        """Take on every config there is. StoreError where the key of their secrets is wrong or gone."""
        await self.store(configs.cancel_tests, self.clock())
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

    async def cancel_idle(self) -> None:
        """Whatever came in for a config while it went: it is cancelled, and says why."""
        await self.store(configs.cancel_idle, self.clock())

    async def test(self, notification: NotificationSettings) -> str:
        """Send one test, and wait for its attempt, but not for ever. The id of its delivery."""
        patience = min(BEGINS_WITHIN + notification.timeout.total_seconds(), LONGEST_TEST)
        async with self._lane(notification):
            delivery = await self.store(trials.begin, identity_of(notification), notification.name, self.clock())
            attempted = self.sending.attempted(delivery)
            self.sending.wake()
            await asyncio.wait([attempted], timeout=patience)
            attempted.cancel()
            await self.store(trials.end, delivery, self.clock())
        return delivery

    # -- edits -----------------------------------------------------------------------------------

    async def create(self, raw: Any, actor: Actor) -> StoredConfig:
        """Make a config of a body. BodyError where it is none; NameTaken where its name is another's."""
        derive_name = not isinstance(raw, dict) or raw.get("name") is None
        written, made = await asyncio.to_thread(self.bodies.written, raw, "", None)
        changes = [Change(*difference) for difference in Body({}, {}).differences(made)]
        stored = await self.store(edits.create, written, changes, actor, self.clock(), derive_name=derive_name)
        await self.apply(stored.id)
        return stored

    async def replace(self, identity: str, edit: Edit, actor: Actor, agrees: Agrees) -> StoredConfig:
        """Put what `edit` makes of a config in its place. Where another writer was quicker, begin with what they wrote.

        Raises as `create`; and Missing, ReadOnly, and Outdated where the config is not one that `agrees`.
        """
        for _ in range(_TRIES):
            stored = await self._editable(identity, agrees)
            before = self.bodies.body(stored)
            written, after = await asyncio.to_thread(self.bodies.written, edit(before.shown), identity, before)
            changes = [Change(*difference) for difference in before.differences(after)]
            if not changes:
                return stored
            with suppress(Outdated):
                stored = await self.store(
                    edits.replace, identity, stored.version, written, changes, actor, self.clock()
                )
                await self.apply(identity)
                return stored
        raise Outdated(f"the config {identity} is being changed all the time")

    async def delete(self, identity: str, actor: Actor, agrees: Agrees) -> None:
        """Delete a config; its history stays. Raises as `replace`."""
        for _ in range(_TRIES):
            stored = await self._editable(identity, agrees)
            with suppress(Outdated):
                await self.store(edits.delete, identity, stored.version, actor, self.clock())
                await self.apply(identity)
                return
        raise Outdated(f"the config {identity} is being changed all the time")

    async def _editable(self, identity: str, agrees: Agrees) -> StoredConfig:
        stored = await self.store(configs.get, identity)
        if stored is None:
            raise Missing(f"there is no config {identity}")
        if stored.provisioned:
            raise ReadOnly(f"{stored.name} is written in {self.where(stored)}: change it there, and reload notifyd")
        if not agrees(stored):
            raise Outdated(f"the config {identity} has been changed meanwhile")
        return stored

    def where(self, stored: StoredConfig) -> str:
        """ "file:line" of a config of the settings file."""
        return next((n.where for n in self.settings.notifications if identity_of(n) == stored.id), "the settings file")

    # -- one config ------------------------------------------------------------------------------

    async def _take_on(self, stored: StoredConfig) -> None:
        """Put it on the roster; one that cannot be used is said, and shown, and does not vanish."""
        self.problems.pop(stored.id, None)
        body = self.bodies.body(stored)  # a wrong key is no fault of this config's alone
        try:
            _check_readable(stored)
            notification = await asyncio.to_thread(self.bodies.reader.again, body, stored.id)
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
        """Cancel what waits at once, and, once it has ended, what was in flight and would be tried again."""
        self.roster.remove(identity, self.sending.drained, then=self.cancel_idle)
        await self.cancel_idle()

    @asynccontextmanager
    async def _lane(self, notification: NotificationSettings) -> AsyncIterator[None]:
        """The config's own lane; for one that is off, or was never saved, a lane for as long as the test takes."""
        identity = identity_of(notification)
        if self.roster.tells(identity):
            yield
            return
        async with self._testing.setdefault(identity, asyncio.Lock()):
            await self.roster.put_lane(notification)
            try:
                yield
            finally:
                if not self.roster.tells(identity):
                    self.roster.remove(identity, self.sending.drained)


def _check_readable(stored: StoredConfig) -> None:
    if stored.unreadable:
        raise NotifydError(f"what the state DB has of its {', '.join(stored.unreadable)} is no JSON; write it anew")
