"""Who is told, live: the gate of each enabled config for the pollers, and its lane for the sender.

Configs come and go while deliveries are in flight. What a poller or the sender has begun with a config it ends
with it; the lane of a config that went closes once its last attempt has ended. Everything here happens on the
loop's thread, but for reading `gates`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import overload

from notifyd import fast
from notifyd.filtering import Gate, gate_of, recipient_of
from notifyd.lane import Lane, lane_of
from notifyd.outbound import Guard
from notifyd.settings import NotificationSettings, Settings

OPENING = 10.0
"""Seconds that a channel has to open before it is used as it is."""

AT_ONCE = max(2, min(os.cpu_count() or 2, 8))
"""How many channels open at the same time: those with a process of their own take half a second of a core each."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds after which a channel that did not open is asked to again: each time twice as many, up to the latter."""

CLOSING = 10.0
"""Seconds that a channel has to close. All close at once, so that a stop has an end."""

Drained = Callable[[str], Awaitable[None]]
"""Waits until every attempt of a config, by its id, that has begun by now has ended."""


class Gates(Sequence[Gate]):
    """The gates as they are now. Whoever iterates goes on with those that there were when it began."""

    def __init__(self) -> None:
        self._by_id: dict[str, Gate] = {}
        self._now: tuple[Gate, ...] = ()

    def put(self, gate: Gate) -> None:
        """Add a config's gate, or replace it."""
        self._by_id[gate.recipient.id] = gate
        self._now = tuple(self._by_id.values())

    def remove(self, identity: str) -> None:
        """Take one out, if it is there."""
        self._by_id.pop(identity, None)
        self._now = tuple(self._by_id.values())

    def __iter__(self) -> Iterator[Gate]:
        return iter(self._now)

    def __len__(self) -> int:
        return len(self._now)

    @overload
    def __getitem__(self, index: int) -> Gate: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Gate]: ...
    def __getitem__(self, index: int | slice) -> Gate | Sequence[Gate]:
        return self._now[index]


class Roster:
    """The gates and lanes by config id."""

    def __init__(self, settings: Settings) -> None:
        self.gates = Gates()
        self.lanes: dict[str, Lane] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self.take_on(settings)

    def take_on(self, settings: Settings) -> None:
        """Whoever is put here from now on goes by these settings."""
        self._settings = settings
        self._guard = Guard(settings.security.allow_private_targets)
        self._fast = fast.chosen(settings.daemon.fast)

    async def put(self, notification: NotificationSettings, drained: Drained | None = None) -> None:
        """Tell this config from now on, in the place of what there was of it. NotifydError where it cannot be made."""
        gate = gate_of(notification, self._settings.registry)
        await self.put_lane(notification, drained)
        self.gates.put(gate)

    async def put_all(self, notifications: Iterable[NotificationSettings], drained: Drained | None = None) -> None:
        """The same of many, in their order; their channels open at the same time. Where one cannot be made, none is."""
        gates, lanes = [], []
        for notification in notifications:
            gates.append(gate_of(notification, self._settings.registry))
            lanes.append(self._made(notification))
        seats = asyncio.Semaphore(AT_ONCE)
        try:
            await asyncio.gather(*(_opened(lane, seats) for lane in lanes))
        except asyncio.CancelledError:
            await asyncio.gather(*(lane.close(CLOSING) for lane in lanes))
            raise
        for gate, lane in zip(gates, lanes, strict=True):
            self._place(lane, drained)
            self.gates.put(gate)

    async def put_lane(self, notification: NotificationSettings, drained: Drained | None = None) -> None:
        """Only send for it what is in the outbox; no event is planned for it."""
        lane = self._made(notification)
        await lane.open(OPENING)
        self._place(lane, drained)

    def _made(self, notification: NotificationSettings) -> Lane:
        guard = self._guard if notification.id else None
        return lane_of(notification, self._settings.registry, guard, self._settings.http.public_url, fast=self._fast)

    def _place(self, lane: Lane, drained: Drained | None) -> None:
        """Use it from now on, in the place of the one before."""
        before = self.lanes.get(lane.recipient.id)
        self.lanes[lane.recipient.id] = lane
        if lane.unopened:
            opening = asyncio.create_task(self._open(lane), name=f"open {lane.recipient.name}")
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
        if before and drained:
            self._retire(before, drained)

    def remove(self, identity: str, drained: Drained, then: Callable[[], Awaitable[None]] | None = None) -> None:
        """Tell this config no more. `then` is called once its last attempt has ended."""
        self.gates.remove(identity)
        if lane := self.lanes.pop(identity, None):
            self._retire(lane, drained, then)

    def tells(self, identity: str) -> bool:
        """Whether events are planned for this config."""
        return any(gate.recipient.id == identity for gate in self.gates)

    @property
    def unopened(self) -> dict[str, str]:
        """Why a channel did not open, by the name of its config."""
        return {lane.recipient.name: lane.unopened for lane in self.lanes.values() if lane.unopened}

    async def _open(self, lane: Lane) -> None:
        """Again and again, for as long as the lane is in use."""
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            if self.lanes.get(lane.recipient.id) is not lane or lane.patience.is_over or await lane.open(OPENING):
                return
            pause = min(2 * pause, LONGEST_PAUSE)

    async def close(self) -> None:
        """Close every lane; nothing is in flight any more."""
        for opening in self._opening:
            opening.cancel()
        await asyncio.gather(*(lane.close(CLOSING) for lane in self.lanes.values()))
        if self._leaving:
            await asyncio.wait(self._leaving)

    def _retire(self, lane: Lane, drained: Drained, then: Callable[[], Awaitable[None]] | None = None) -> None:
        leaving = asyncio.create_task(_close(lane, drained, then), name=f"close {lane.recipient.name}")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)


def identity_of(notification: NotificationSettings) -> str:
    """The id of a config."""
    return recipient_of(notification).id


async def _opened(lane: Lane, seats: asyncio.Semaphore) -> None:
    async with seats:
        await lane.open(OPENING)


async def _close(lane: Lane, drained: Drained, then: Callable[[], Awaitable[None]] | None) -> None:
    await drained(lane.recipient.id)
    if then:
        await then()
    await lane.close(CLOSING)
