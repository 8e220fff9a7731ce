"""A lane: one config on its way out. It makes one attempt at a delivery and says what came of it."""

from __future__ import annotations

import asyncio
import math
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import FrameType
from typing import Any, NamedTuple

import structlog

from notifyd.api import Channel, HttpOptions, Logger, Notification, Reject, Retry
from notifyd.api.masking import masked, secrets_of
from notifyd.context import Attempt, ChannelLog, CheckUp, Words, last_note, last_status
from notifyd.context import text_of as plain
from notifyd.core.pace import Pace
from notifyd.core.plan import Recipient
from notifyd.errors import NotifydError
from notifyd.filtering import at_work, recipient_of, text_of
from notifyd.isolation import IsolatedChannel
from notifyd.model import Outcome, Result
from notifyd.outbound import Dialer, Guard, HttpClient
from notifyd.plugin_host import Registry
from notifyd.render import Template
from notifyd.settings import Delivery, NotificationSettings
from notifyd.store.admission import Capacity

_REASON_LENGTH = 1000
_PATIENCE = 1.0

log = structlog.get_logger("notifyd.lane")


class Checked(NamedTuple):
    """What a channel's own check came to: whether it could send, and what it saw or what is wrong, if it says."""

    well: bool
    text: str


@dataclass(slots=True)
class Lane:
    """One config: its recipient for planning, its channel, and how it is called."""

    recipient: Recipient
    notification_type: str
    channel: Channel[Any]
    http: HttpClient
    dialer: Dialer
    timeout: timedelta
    log: Logger
    template: Template
    public_url: str
    delivery: Delivery
    seats: asyncio.Semaphore
    secrets: tuple[str, ...] = ()
    in_flight: int = 0  # claimed, and not ended
    pace: Pace = field(default_factory=Pace)

    async def open(self) -> None:
        """Let the channel make its connections. One that cannot is a bug that its attempts will show."""
        if trouble := await self._trouble(self.channel.open):
            self.log.error("the channel did not open", why=trouble)

    async def close(self) -> None:
        """Let the channel and its HTTP connections go."""
        if trouble := await self._trouble(self.channel.close):
            self.log.warning("the channel did not close", why=trouble)
        await self.http.aclose()

    async def check(self, now: datetime, timeout: float) -> Checked | None:
        """What the channel's own check says, within `timeout` seconds; None where it has none."""
        kind = self.channel.kind if isinstance(self.channel, IsolatedChannel) else type(self.channel)
        if kind.check is Channel.check:
            return None
        ctx = CheckUp(self.http, self.dialer, ChannelLog(self.log, self.secrets), now, timeout)
        found: list[str | None] = []

        async def step() -> None:
            found.append(await self.channel.check(ctx))

        trouble = await self._trouble(step, timeout)
        return Checked(trouble is None, self._clean(plain(trouble or next(iter(found), None) or "")))

    async def _trouble(self, step: Callable[[], Awaitable[None]], within: float | None = None) -> str | None:
        """What went wrong with a step of the channel's, which may take as long as an attempt; None if nothing did."""
        seconds = self.timeout.total_seconds() if within is None else within
        limit = asyncio.timeout(seconds)
        try:
            with self._at_work():
                async with limit:
                    await step()
        except BaseException as error:  # also SystemExit, as in an attempt
            if _cancelled_from_outside(error):
                raise
            if limit.expired():
                return f"not done within {seconds:g} s"
            expected = isinstance(error, Retry | Reject)
            return self._clean(plain(error) if expected else text_of(error))
        return None

    @property
    def capacity(self) -> Capacity:
        """How many more it may claim at this turn; each lease is longer than any attempt can take, and its wait."""
        return Capacity(
            self.recipient,
            self.notification_type,
            free=self._most() - self.in_flight,
            lease=self.timeout + timedelta(seconds=60),
            busy=self.in_flight,
            max_per_minute=self.delivery.max_per_minute,
            expire_after=self.delivery.expire_after or None,
            retry_for=self.delivery.retry_for,
        )

    def _most(self) -> int:
        """Where a minute has room for so many only, none is claimed before its time."""
        at_once = self.delivery.max_concurrency
        return at_once if self.delivery.max_per_minute else self.pace.most(at_once)

    async def attempt(self, notification: Notification, number: int, now: datetime) -> Outcome:
        """Send once. Whatever the channel does, the answer is an Outcome, without a secret in it.

        Only a cancellation from outside (the daemon stops) gets through.
        """
        words = Words(notification, self.template, self.public_url, self.log)
        with self._at_work():
            outcome = await self._try(words, notification, number, now)
        if not words.stall:
            return outcome
        return replace(outcome, reason="; ".join(filter(None, [outcome.reason, words.stall])))

    async def _try(self, words: Words, notification: Notification, number: int, now: datetime) -> Outcome:
        seconds = self.timeout.total_seconds()
        log = ChannelLog(_bound(self.log, notification), self.secrets)
        ctx = Attempt(words, number, self.http, self.dialer, log, now, seconds)
        # A little longer than the channel's own, whose words say more about what was slow.
        limit = asyncio.timeout(seconds + _PATIENCE)
        try:
            async with limit:
                note = await self.channel.send(notification, ctx)
        except Retry as retry:
            return self._outcome(Result.RETRY, retry.reason, retry.status_code, retry.after)
        except Reject as reject:
            return self._outcome(Result.REJECTED, reject.reason, reject.status_code)
        except BaseException as error:  # also SystemExit, which would end the process from inside a task
            if _cancelled_from_outside(error):
                raise
            if limit.expired():
                return self._outcome(Result.RETRY, f"no answer within {seconds:g} s")
            return self._bug(notification, error)
        notes = [words.note, last_note(ctx.http), note if isinstance(note, str) else ""]
        return self._outcome(Result.SENT, "; ".join(filter(None, notes)), last_status(ctx.http))

    def _bug(self, notification: Notification, error: BaseException) -> Outcome:
        where = self._clean("".join(traceback.format_exception(error)))
        self.log.error("the channel has a bug", delivery=notification.id, traceback=where)
        return self._outcome(Result.BUG, f"bug in the channel: {text_of(error)}")

    def _at_work(self) -> AbstractContextManager[None]:
        """Whatever logs or prints in there."""
        return at_work(self.recipient.name, self.secrets)

    def _outcome(self, result: Result, reason: object, status: object = None, after: object = None) -> Outcome:
        """An outcome that can be kept, whatever a plugin put into its exception."""
        seconds = float(after) if isinstance(after, int | float) and math.isfinite(after) else None
        number = status if isinstance(status, int) else None
        return Outcome(result, self._clean(plain(reason))[:_REASON_LENGTH], number, seconds)

    def _clean(self, text: str) -> str:
        """The last guard: no secret of this config leaves in a text, whoever wrote it."""
        return masked(text, self.secrets)


def lane_of(
    notification: NotificationSettings,
    registry: Registry,
    guard: Guard | None = None,
    public_url: str | None = None,
    *,
    fast: bool = False,
) -> Lane:
    """The lane of a config, its channel made from its options; with a guard where the API made the config.

    NotifydError where the channel cannot be made.
    """
    options = notification.options
    secrets, own_log = secrets_of(options), log.bind(config=notification.name)
    channel = _made(notification, registry, ChannelLog(own_log, secrets))
    dialer = Dialer(guard)
    reach = options if isinstance(options, HttpOptions) else None
    return Lane(
        recipient_of(notification),
        notification.notification_type,
        channel,
        HttpClient(timeout=notification.timeout.total_seconds(), dialer=dialer, options=reach, fast=fast),
        dialer,
        notification.timeout,
        own_log,
        notification.template,
        public_url or "",
        notification.delivery,
        asyncio.Semaphore(notification.delivery.max_concurrency),
        secrets,
    )


def blamed(frame: FrameType | None, note: str) -> str | None:
    """The config whose attempt is at work in this frame, if one is; what is noted becomes part of its outcome."""
    while frame and frame.f_code is not Lane._try.__code__:
        frame = frame.f_back
    if frame is None:
        return None
    lane, words = frame.f_locals["self"], frame.f_locals["words"]
    words.stall = note
    return f"{lane.recipient.name} ({lane.notification_type})"


def _made(notification: NotificationSettings, registry: Registry, own_log: Logger) -> Channel[Any]:
    name, kind = notification.name, notification.notification_type
    cls = registry.channels[kind].cls
    try:
        with at_work(name, secrets_of(notification.options)):
            if notification.isolate:
                return IsolatedChannel(notification.options, cls, registry.plugins_dir, own_log)
            return cls(notification.options)
    except Exception as error:
        problem = f"{notification.where}: config {name}: the channel {kind} has a bug: {text_of(error)}"
        raise NotifydError(masked(problem, secrets_of(notification.options))) from error


def _bound(log: Logger, notification: Notification) -> Logger:
    """The log with the delivery's id on each line."""
    return log.bind(delivery=notification.id) if hasattr(log, "bind") else log


def _cancelled_from_outside(error: BaseException) -> bool:
    """Whether somebody cancelled this task, rather than the channel something of its own."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
