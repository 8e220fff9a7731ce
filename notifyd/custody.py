"""Looking after the file of the state DB while the daemon runs: one that was taken away is said once, and saved.

What was deleted is still there for who has it open. It is copied beside where it was, at once and again at the stop,
so that `notifyd restore` can put it back; until then people are told as ever.
"""

from __future__ import annotations

import structlog

from notifyd.clock import Clock
from notifyd.observe.health import STATE, STATE_DB, Health
from notifyd.store import presence
from notifyd.store.errors import StoreError
from notifyd.store.presence import Presence
from notifyd.store.thread import StoreThread

log = structlog.get_logger("notifyd")


class Custody:
    """See the module's docstring."""

    def __init__(self, store: StoreThread, clock: Clock, health: Health) -> None:
        self.store, self.clock, self.health = store, clock, health
        self._presence = Presence(store.database.path)
        self._said = ""

    async def look(self) -> None:
        """Say what happened to the file, once, and save what was in it."""
        trouble = self._presence.trouble()
        if trouble and trouble != self._said:
            self._said = trouble
            saved = await self._save()
            log.error(f"the state DB {trouble} while notifyd runs", state=str(self.store.database.path), do=saved)
        if trouble or self._said:
            note = f"{STATE_DB}{self.store.database.path} {trouble}: the log says what to do" if trouble else ""
            self.health.turn(STATE, self.clock(), ok=not trouble, note=note)
        self._said = trouble or ""

    async def close(self) -> None:
        """Save it once more, with what came since."""
        if self._presence.trouble():
            log.error("the state DB is not where it was", state=str(self.store.database.path), do=await self._save())

    async def _save(self) -> str:
        try:
            file = await self.store(presence.save, self.clock())
        except StoreError as error:
            return str(error)
        return f"stop notifyd, then: notifyd restore {file}"
