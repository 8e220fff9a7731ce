"""The outage of a source: told once it lasts, and told again when it is over.

When it began is in the state DB, so that an outage is told after a restart as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from notifyd.core import notices
from notifyd.core.rules import Rules
from notifyd.filtering import Gate, ask
from notifyd.model import Finding
from notifyd.settings import SourceSettings
from notifyd.store import cursors
from notifyd.store.cursors import Outage
from notifyd.store.thread import StoreThread


class OutageWatch:
    """Watches whether one source can be read. `found` is called when something was put in the outbox."""

    def __init__(
        self,
        source: SourceSettings,
        rules: Rules,
        gates: Sequence[Gate],
        store: StoreThread,
        found: Callable[[], None],
    ) -> None:
        self.source, self.rules, self.gates, self.store, self.found = source, rules, gates, store, found
        self._known = False  # whether the state DB was asked
        self._outage: Outage | None = None

    async def failed(self, error: str, now: datetime) -> None:
        """The source could not be read. Raises StoreError where that cannot be kept."""
        outage = await self._ongoing()
        if outage is None:
            await self.store(cursors.failed, self.source.id, error, now)
            # A source that never started has no row to keep it in; then this process remembers.
            self._outage = outage = await self.store(cursors.outage, self.source.id) or Outage(now, None)
        if outage.condition is None and now - outage.since >= self.source.unreachable_after:
            await self._tell(outage, error, now)

    async def over(self, now: datetime) -> None:
        """The source was read. Raises StoreError where that cannot be kept."""
        outage = await self._ongoing()
        if outage is None:
            return
        recovery = None
        if outage.condition:
            event = notices.source_reachable(self.source.name, outage.condition, outage.since, now)
            recovery = Finding(event, condition=outage.condition)
        recipients = [gate.recipient for gate in self.gates]
        if await self.store(cursors.end_outage, self.source.id, recovery, recipients, now):
            self.found()
        self._outage = None

    async def _ongoing(self) -> Outage | None:
        if not self._known:
            self._outage, self._known = await self.store(cursors.outage, self.source.id), True
        return self._outage

    async def _tell(self, outage: Outage, error: str, now: datetime) -> None:
        event = notices.source_unreachable(self.source.name, self.source.id, outage.since, error, now, self.rules)
        verdicts, recipients = ask(self.gates, [event], now), [gate.recipient for gate in self.gates]
        finding = Finding(event, condition=event.id)
        await self.store(cursors.tell_outage, self.source.id, finding, verdicts, recipients, now)
        self._outage = Outage(outage.since, event.id)
        self.found()
