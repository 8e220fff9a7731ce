"""A channel that fails: the other configs are told once it lasts, and told again when it delivers.

The breaker in the state DB says that it fails and since when (`core/breaker.py`), so a restart forgets none of it. Each
outage is one event and each end another, whoever else fails: two that fail cannot tell each other in circles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from notifyd.clock import Clock
from notifyd.core import notices
from notifyd.core.rules import Rules
from notifyd.errors import NotifydError
from notifyd.filtering import Gate, ask
from notifyd.model import Finding
from notifyd.observe import health as parts
from notifyd.observe.health import Health
from notifyd.store import expiry, failing, late
from notifyd.store.failing import Failing
from notifyd.store.late import Late
from notifyd.store.thread import StoreThread

LASTING = timedelta(minutes=1)
"""How long a breaker is open before others are told: an endpoint that restarts is no news."""

log = structlog.get_logger("notifyd.failing")


class ChannelWatch:
    """Watches the channels of all configs. `found` is called when something was put in the outbox."""

    def __init__(
        self,
        gates: Sequence[Gate],
        store: StoreThread,
        clock: Clock,
        health: Health,
        found: Callable[[], None],
    ) -> None:
        self.gates, self.store, self.clock, self.health, self.found = gates, store, clock, health, found

    async def look(self, rules: Rules) -> None:
        """Tell what has to be told, and let health show what goes on. What cannot be kept, the next look tells."""
        now = self.clock()
        try:
            for each in await self.store(failing.over):
                await self._end(each, now)
            for each in await self.store(failing.to_tell, LASTING, now):
                await self._tell(each, now, rules)
            for expired in await self.store(late.unsaid):
                await self._say_late(expired, now)
            for each in await self.store(failing.told):
                self.health.turn(parts.channel(each.name), now, ok=False, note=each.error)
        except NotifydError as error:
            log.error("what fails could not be told; it is tried again", error=str(error))

    async def _tell(self, channel: Failing, now: datetime, rules: Rules) -> None:
        event = notices.channel_failing(
            channel.config_id, channel.name, channel.since, channel.error, now, rules, dead=channel.dead
        )
        finding = Finding(event, condition=event.id, about=channel.config_id)
        gates = [gate for gate in self.gates if gate.recipient.id != channel.config_id]
        verdicts, recipients = ask(gates, [event], now), [gate.recipient for gate in self.gates]
        kept = await self.store(failing.tell, channel.config_id, finding, verdicts, recipients, now)
        if kept is None:
            return
        who = "nobody else can be told" if kept.untold else "others are told"
        log.error(f"the channel fails; {who}", config=channel.name, why=channel.error)
        self.found()

    async def _say_late(self, expired: Late, now: datetime) -> None:
        event = notices.told_too_late(expired.config_id, expired.name, expired.count, expired.first, expired.since, now)
        finding, recipients = Finding(event, alone=expired.config_id), [gate.recipient for gate in self.gates]
        if await self.store(late.say, expired, finding, recipients, now):
            log.warning("what expired is told by a notice of its own", config=expired.name, events=expired.count)
            self.found()

    async def _end(self, channel: Failing, now: datetime) -> None:
        expired = await self.store(expiry.untold_events, channel.config_id)
        event = notices.channel_recovered(
            channel.name, channel.condition or "", channel.since, now, in_use=channel.in_use, expired=expired
        )
        recipients = [gate.recipient for gate in self.gates]
        await self.store(failing.end, channel.config_id, Finding(event, condition=channel.condition), recipients, now)
        log.info("the channel fails no more", config=channel.name)
        self.health.forget(parts.channel(channel.name))
        self.found()
