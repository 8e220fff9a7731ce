"""Loop two: claim what is due, send it, settle what came of it.

Each turn is one transaction that settles the attempts that ended and claims the next; while it runs,
others end and gather for the next turn. The sender never looks at a sync log.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

import structlog

from notifyd.clock import Clock, until_beat
from notifyd.core.retry import next_attempt
from notifyd.errors import NotifydError
from notifyd.lane import Lane, Underway
from notifyd.model import Outcome, Reason, Result
from notifyd.observe.health import SENDER, Health
from notifyd.store import outbox
from notifyd.store.admission import Capacity
from notifyd.store.claim import Claimed
from notifyd.store.database import Database
from notifyd.store.outbox import Settled
from notifyd.store.thread import StoreThread

LOOK_AROUND = 1.0
"""Seconds between turns, at most, when nothing wakes the sender: how soon it sees what other processes queued."""

A_MOMENT = 0.01
"""Seconds at least that it rests where a turn found nothing that it could claim."""

log = structlog.get_logger("notifyd.sender")


class Sender:
    """Keeps every lane at work. `lanes` are by config id; `jitter` gives a number in [0, 1)."""

    def __init__(
        self,
        lanes: Mapping[str, Lane],  # live: configs come and go
        store: StoreThread,
        clock: Clock,
        health: Health,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.lanes, self.store, self.clock, self.health, self.jitter = lanes, store, clock, health, jitter
        self.most_per_minute: int | None = None  # over all lanes
        self._settled: list[Settled] = []
        self._returned: list[Claimed] = []  # that were not begun
        self._attempts: dict[Underway, Lane] = {}
        self._awaited: dict[str, list[asyncio.Future[None]]] = {}  # by delivery id
        self._turning = asyncio.Lock()
        self._woken = asyncio.Event()
        self._stopping = False
        self._failing = ""

    def wake(self) -> None:
        """Something may be due: take a turn soon. Only from the loop's thread."""
        self._woken.set()

    def start(self) -> None:
        """Begin to take turns, on the running loop."""
        self._loop = asyncio.create_task(self._run(), name="sender")

    async def stop(self, grace: float) -> None:
        """Claim no more, let what is in flight end for up to `grace` seconds, and settle it; the rest stays queued."""
        self._stopping = True
        self.wake()
        await asyncio.wait([self._loop])
        for lane in list(self._attempts.values()):
            while lane.waiting:
                self._give_back(lane, lane.waiting.popleft())
        await self._all_ended(grace)
        for underway in self._attempts:
            if underway.step:
                underway.step.abandon()
            outcome = Outcome(Result.UNKNOWN, "unknown: the daemon stopped")
            self._settled.append(Settled(underway.claimed, outcome, self.clock(), self.clock(), retry_at=self.clock()))
        try:
            await self.store(_settle_all, self._settled, self._returned)
        except Exception as error:
            count = len(self._settled)
            log.error(
                "what was sent last could not be recorded; the next start repeats it", count=count, why=str(error)
            )
        self._recorded([*(item.claimed for item in self._settled), *self._returned])
        self._attempts, self._settled, self._returned = {}, [], []

    async def _all_ended(self, grace: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._attempts:
                    self._woken.clear()
                    await self._woken.wait()

    def attempted(self, delivery_id: str) -> asyncio.Future[None]:
        """Done once an attempt at the delivery has ended and is recorded, or the sender has stopped."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(delivery_id, []).append(future)
        future.add_done_callback(partial(self._await_no_more, delivery_id))
        return future

    def _await_no_more(self, delivery_id: str, future: asyncio.Future[None]) -> None:
        """Whoever waited has it, or gave up."""
        waiting = [each for each in self._awaited.pop(delivery_id, ()) if each is not future]
        if waiting:
            self._awaited[delivery_id] = waiting

    async def drained(self, config_id: str) -> None:
        """Wait until every attempt of a config that has begun by now is recorded. A turn counts as its attempts."""
        async with self._turning:
            begun = [each.claimed for each in self._attempts if each.claimed.config_id == config_id]
            begun += [item.claimed for item in self._settled if item.claimed.config_id == config_id]
            recorded = [self.attempted(claimed.notification.id) for claimed in begun]
        if recorded:
            await asyncio.wait(recorded)

    async def _run(self) -> None:
        """Turn after turn. One that fails is said once, and tried again: nothing is lost by it."""
        while not self._stopping:
            self._woken.clear()
            try:
                claimed, due = await self._turn()
                self._succeeded()
                if not claimed and not self._settled and not self._returned:
                    await self._rest(due)
            except Exception as error:
                self._failed(error)
                await asyncio.sleep(LOOK_AROUND)

    def _succeeded(self) -> None:
        if self._failing:
            log.info("the outbox can be used again")
            self._failing = ""
        self.health.turn(SENDER, self.clock(), ok=True)

    def _failed(self, error: Exception) -> None:
        expected = isinstance(error, NotifydError)
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        self.health.turn(SENDER, self.clock(), ok=False, note=text)
        if text != self._failing:
            self._failing = text
            bug = None if expected else error
            log.error("the outbox cannot be used; it is tried again every second", error=text, exc_info=bug)

    async def _turn(self) -> tuple[list[Claimed], datetime | None]:
        """What it claimed, and when something is due next where that is nothing."""
        async with self._turning:
            lanes = dict(self.lanes)
            for lane in lanes.values():
                lane.pace.turned()
            falls = {config_id: lane.pace.falls for config_id, lane in lanes.items()}
            settled, self._settled = self._settled, []
            returned, self._returned = self._returned, []
            try:
                claimed, due = await self.store(
                    _turn, settled, capacities(lanes), self.clock(), self.most_per_minute, returned
                )
            except BaseException:
                self._settled, self._returned = settled + self._settled, returned + self._returned
                raise
            self._recorded(item.claimed for item in settled)
            for each in claimed:
                self._begin(lanes[each.config_id], each, falls[each.config_id])
        return claimed, due

    def _recorded(self, attempts: Iterable[Claimed]) -> None:
        for claimed in attempts:
            for future in self._awaited.pop(claimed.notification.id, ()):
                if not future.done():
                    future.set_result(None)

    def _begin(self, lane: Lane, claimed: Claimed, falls: int) -> None:
        if claimed.notification.reason is Reason.FLOOD and claimed.tries == 1:
            count = claimed.notification.count
            log.warning("more than max_notifications_per_minute: it gathered", config=lane.recipient.name, events=count)
        lane.in_flight += 1
        underway = Underway(claimed, falls)
        self._attempts[underway] = lane
        if lane.seats:
            lane.seats -= 1
            self._attempt(lane, underway)
        elif lane.pace.falls != falls:
            self._give_back(lane, underway)
        else:
            lane.waiting.append(underway)

    def _attempt(self, lane: Lane, underway: Underway) -> None:
        claimed, started = underway.claimed, self.clock()
        done = partial(self._ended, lane, underway, started)
        underway.step = lane.begin(claimed.notification, claimed.attempt, started, done)

    def _ended(self, lane: Lane, underway: Underway, started: datetime, outcome: Outcome) -> None:
        del self._attempts[underway]
        lane.in_flight -= 1
        try:
            self._settle(lane, underway.claimed, started, outcome)
        finally:
            self._free_seat(lane)
            self.wake()

    def _free_seat(self, lane: Lane) -> None:
        """Who waits takes it; or, if another attempt failed since its claim, is not begun for now."""
        while lane.waiting:
            underway = lane.waiting.popleft()
            if not self._stopping and lane.pace.falls == underway.falls:
                return self._attempt(lane, underway)
            self._give_back(lane, underway)
        lane.seats += 1
        return None

    def _give_back(self, lane: Lane, underway: Underway) -> None:
        del self._attempts[underway]
        self._returned.append(underway.claimed)
        lane.in_flight -= 1

    def _settle(self, lane: Lane, claimed: Claimed, started: datetime, outcome: Outcome) -> None:
        finished, retry_at = self.clock(), None
        if outcome.result in (Result.RETRY, Result.BUG):
            retry_at = next_attempt(
                claimed.tries,
                claimed.first_attempt_at,
                finished,
                self.jitter(),
                outcome.after,
                lane.delivery.retry_for,
            )
        lane.pace.ended(sent=outcome.result is Result.SENT)
        self._settled.append(Settled(claimed, outcome, started, finished, retry_at))
        _say(lane, claimed, outcome, dead=self._settled[-1].dead)

    async def _rest(self, due: datetime | None) -> None:
        """Wait until something wakes the sender, the next delivery is due, or it is time to look around."""
        wait = LOOK_AROUND if due is None else (due - self.clock()).total_seconds()
        try:
            await asyncio.wait_for(self._woken.wait(), min(max(wait, A_MOMENT), until_beat(LOOK_AROUND)))
        except TimeoutError:
            return


def capacities(lanes: Mapping[str, Lane]) -> dict[str, Capacity]:
    """What each lane can take now."""
    return {config_id: lane.capacity for config_id, lane in lanes.items()}


def _turn(
    database: Database,
    settled: Sequence[Settled],
    lanes: Mapping[str, Capacity],
    now: datetime,
    most_per_minute: int | None,
    returned: Sequence[Claimed],
) -> tuple[list[Claimed], datetime | None]:
    """A turn; and where it claimed nothing, when something is due next, so that an idle second costs one errand."""
    if not settled and not returned:
        due = outbox.next_due(database, lanes, now, most_per_minute)
        if due is None or due > now:
            return [], due
    claimed = outbox.turn(database, settled, lanes, now, most_per_minute, returned)
    return claimed, None if claimed else outbox.next_due(database, lanes, now, most_per_minute)


def _settle_all(database: Database, settled: list[Settled], returned: list[Claimed]) -> None:
    if settled or returned:
        with database.transaction():
            outbox.settle(database, settled)
            outbox.give_back(database, returned)


def _say(lane: Lane, claimed: Claimed, outcome: Outcome, *, dead: bool) -> None:
    fields = {"config": lane.recipient.name, "delivery": claimed.notification.id, "attempt": claimed.attempt}
    if outcome.result is Result.SENT:
        log.info("sent", **fields, title=claimed.notification.event.title)
    elif dead:
        log.error("given up; `notifyd retry` sends it again", **fields, reason=outcome.reason)
    else:
        log.warning("not sent, will be tried again", **fields, reason=outcome.reason)
