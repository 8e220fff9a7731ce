"""A lane: one config on its way out. It makes one attempt at a delivery and says what came of it."""

from __future__ import annotations

import asyncio
import math
import sys
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import structlog

from notifyd.api import Channel, HttpOptions, Logger, Notification, Reject, Retry
from notifyd.api.masking import masked, secrets_of
from notifyd.context import Attempt, ChannelLog, CheckUp, Words, last_note, last_status
from notifyd.context import text_of as plain
from notifyd.core.pace import Pace
from notifyd.core.plan import Recipient
from notifyd.errors import NotifydError, text_of
from notifyd.filtering import at_work, recipient_of
from notifyd.isolation.channel import Died, IsolatedChannel
from notifyd.model import Outcome, Result
from notifyd.outbound import Dialer, Guard, HttpClient
from notifyd.patience import Ended, Patience, Step
from notifyd.plugin_host import Registry
from notifyd.render import Template, load, loaded
from notifyd.settings import Delivery, NotificationSettings
from notifyd.store.admission import Capacity
from notifyd.store.claim import Claimed

_REASON_LENGTH = 1000
_LONGER = 1.0
_LEFT_BEHIND = "it did not end when it was cancelled, and was left behind"
_MEND = "set isolate = true on this config"

log = structlog.get_logger("notifyd.lane")


class TooManyLeft(Exception):
    """Nothing more is begun with a channel that never ends."""


class Trouble(NamedTuple):
    """What is wrong with a step of a channel's, and the traceback where it is a bug."""

    text: str
    where: str = ""


class Checked(NamedTuple):
    """What a channel's own check came to: whether it could send, and what it saw or what is wrong, if it says."""

    well: bool
    text: str


@dataclass(slots=True, eq=False)
class Underway:
    """A delivery that was claimed, when its lane had fallen so often; until its attempt has ended."""

    claimed: Claimed
    falls: int
    step: Step[object] | None = None  # None while it waits for a seat


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
    seats: int  # that are free
    secrets: tuple[str, ...] = ()
    in_flight: int = 0  # claimed, and not ended
    waiting: deque[Underway] = field(default_factory=deque)  # those of them that have no seat yet
    pace: Pace = field(default_factory=Pace)
    patience: Patience = field(default_factory=Patience)
    unopened: str = ""  # why the channel did not open, while it has not

    async def open(self, within: float = math.inf) -> bool:
        """Let the channel make its connections; whether it could. One that cannot is used all the same: its attempts
        show what it can do. The same trouble is said once, however often it is tried."""
        trouble = await self._trouble(self.channel.open, within)
        before, self.unopened = self.unopened, trouble.text if trouble else ""
        if trouble and trouble.text != before:
            mend = "mend what it names, or the config's options; it is tried again, and reload tries at once"
            bug = {"traceback": trouble.where} if trouble.where else {}
            self.log.error(
                "the channel did not open", channel=self.notification_type, why=trouble.text, mend=mend, **bug
            )
        elif before and not self.unopened:
            self.log.info("the channel is open after all", channel=self.notification_type)
        return not self.unopened

    async def close(self, within: float = math.inf) -> None:
        """Let the channel and its HTTP connections go."""
        if trouble := await self._trouble(self.channel.close, within):
            self.log.warning("the channel did not close", why=trouble.text)
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
        return Checked(trouble is None, self._clean(plain(trouble.text if trouble else next(iter(found), None) or "")))

    async def _trouble(self, step: Callable[[], Awaitable[None]], within: float) -> Trouble | None:
        """What went wrong with a step of the channel's, which may take as long as an attempt; None if nothing did."""
        seconds = min(within, self.timeout.total_seconds())
        with self._at_work():
            ended = await self.patience.ended(step, seconds)
        if ended.left_behind:
            return Trouble(f"not done within {seconds:g} s; {_LEFT_BEHIND}")
        if (error := ended.error) is None:
            return None
        if ended.late:
            return Trouble(f"not done within {seconds:g} s")
        if isinstance(error, Retry | Reject):
            return Trouble(self._clean(_said(error)))
        return Trouble(self._clean(_said(error) + self._place_of(error)), self._traceback(error))

    def _place_of(self, error: BaseException) -> str:
        """The line of the channel's own file that it came from, as " (pager.py:3)"; nothing of an isolated one's."""
        own = getattr(sys.modules.get(type(self.channel).__module__), "__file__", None)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
        return f" ({Path(own).name}:{lines[-1]})" if own and lines and not isinstance(error, Died) else ""

    def _traceback(self, error: BaseException) -> str:
        return self._clean("".join(traceback.format_exception(error)))

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
        """Send once, as `begin`; a CancelledError is one of whoever waits here."""
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        begun = self.begin(notification, number, now, ended.set_result)
        try:
            return await ended
        except asyncio.CancelledError:
            begun.abandon()
            raise

    def begin(
        self, notification: Notification, number: int, now: datetime, done: Callable[[Outcome], None]
    ) -> Step[object]:
        """Begin to send once. Whatever the channel does, `done` gets an Outcome, without a secret in it."""
        words = Words(notification, self.template, self.public_url, self.log)
        seconds = self.timeout.total_seconds()
        log = ChannelLog(_bound(self.log, notification), self.secrets)
        ctx = Attempt(words, number, self.http, self.dialer, log, now, seconds)

        def ended(how: Ended[object]) -> None:
            with self._at_work():
                outcome = self._outcome_of(how, words, ctx)
            if words.stall:
                outcome = replace(outcome, reason="; ".join(filter(None, [outcome.reason, words.stall])))
            done(outcome)

        # A little longer than the channel's own, whose words say more about what was slow.
        return self.patience.begin(partial(self._send, notification, ctx, words), seconds + _LONGER, ended)

    async def _send(self, notification: Notification, ctx: Attempt, words: Words) -> object:
        """The channel at work: `blamed` knows it by this frame, and by its `words`."""
        if self.patience.is_over:
            raise TooManyLeft(f"{self.patience.most} attempts before did not end when they were cancelled; {_MEND}")
        if not loaded():
            await asyncio.to_thread(load)
        with self._at_work():
            note: object = await self.channel.send(notification, ctx)
        return note

    def _outcome_of(self, how: Ended[object], words: Words, ctx: Attempt) -> Outcome:
        if how.left_behind:
            return self._left(words.notification)
        match how.error:
            case Retry() as retry:
                return self._outcome(Result.RETRY, retry.reason, retry.status_code, retry.after)
            case Reject() as reject:
                return self._outcome(Result.REJECTED, reject.reason, reject.status_code)
            case BaseException() as error:
                if how.late:
                    return self._outcome(Result.RETRY, f"no answer within {self.timeout.total_seconds():g} s")
                return self._bug(words.notification, error)
        notes = [words.note, last_note(ctx.http), how.value if isinstance(how.value, str) else ""]
        return self._outcome(Result.SENT, "; ".join(filter(None, notes)), last_status(ctx.http))

    def _left(self, notification: Notification) -> Outcome:
        count, kind = len(self.patience.left), self.notification_type
        self.log.error(f"the channel has a bug: {_LEFT_BEHIND}", channel=kind, delivery=notification.id, left=count)
        late = f"no answer within {self.timeout.total_seconds():g} s, and {_LEFT_BEHIND}; {_MEND}"
        return self._outcome(Result.BUG, f"bug in the channel {kind} of {self.recipient.name}: {late}")

    def _bug(self, notification: Notification, error: BaseException) -> Outcome:
        self.log.error("the channel has a bug", delivery=notification.id, traceback=self._traceback(error))
        return self._outcome(Result.BUG, f"bug in the channel: {_said(error)}")

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
        notification.delivery.max_concurrency,
        secrets,
    )


def blamed(frame: FrameType | None, note: str) -> str | None:
    """The config whose attempt is at work in this frame, if one is; what is noted becomes part of its outcome."""
    while frame and frame.f_code is not Lane._send.__code__:
        frame = frame.f_back
    if frame is None:
        return None
    lane, words = frame.f_locals["self"], frame.f_locals["words"]
    words.stall = note
    return f"{lane.recipient.name} ({lane.notification_type})"


def _made(notification: NotificationSettings, registry: Registry, own_log: Logger) -> Channel[Any]:
    name, kind = notification.name, notification.notification_type
    registered = registry.channels[kind]
    try:
        with at_work(name, secrets_of(notification.options)):
            if notification.isolate:
                return IsolatedChannel(notification.options, registered, registry.plugins_dir, own_log)
            return registered.cls(notification.options)
    except BaseException as error:
        problem = f"{notification.where}: config {name}: the channel {kind} has a bug: {text_of(error)}"
        raise NotifydError(masked(problem, secrets_of(notification.options))) from error


def _bound(log: Logger, notification: Notification) -> Logger:
    """The log with the delivery's id on each line."""
    return log.bind(delivery=notification.id) if hasattr(log, "bind") else log


def _said(error: BaseException) -> str:
    """What is wrong, for a person; the kind of the exception is part of it where that is not a word of ours."""
    return plain(error) if isinstance(error, Retry | Reject | Died) else text_of(error)
