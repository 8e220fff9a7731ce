"""A lane: one config on its way out. It makes one attempt at a delivery and says what came of it."""

from __future__ import annotations

import asyncio
import math
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from pydantic import BaseModel

from notifyd.api import Answer, Channel, Http, HttpOptions, Notification, Reject, Rendered, Retry
from notifyd.api.channel import Logger
from notifyd.api.options import MASK, Secret, SecretUrl
from notifyd.core.plan import Recipient
from notifyd.errors import NotifydError
from notifyd.filtering import recipient_of, text_of
from notifyd.model import Outcome, Result
from notifyd.outbound import Dialer, Guard, HttpClient
from notifyd.plugin_host import Registry
from notifyd.render import Template, TemplateError, render
from notifyd.settings import NotificationSettings
from notifyd.store.outbox import Capacity

CONCURRENCY = 8
"""Attempts at once per config: as many as an endpoint has connections."""

_REASON_LENGTH = 1000
_PATIENCE = 1.0
_LONG_ENOUGH = 8

log = structlog.get_logger("notifyd.lane")


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
    secrets: tuple[str, ...] = ()
    in_flight: int = 0

    async def open(self) -> None:
        """Let the channel make its connections. One that cannot is a bug that its attempts will show."""
        if trouble := await self._trouble(self.channel.open):
            self.log.error("the channel did not open", why=trouble)

    async def close(self) -> None:
        """Let the channel and its HTTP connections go."""
        if trouble := await self._trouble(self.channel.close):
            self.log.warning("the channel did not close", why=trouble)
        await self.http.aclose()

    async def _trouble(self, step: Callable[[], Awaitable[None]]) -> str | None:
        """What went wrong with a step of the channel's, which may take as long as an attempt; None if nothing did."""
        seconds = self.timeout.total_seconds()
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await step()
        except BaseException as error:  # also SystemExit, as in an attempt
            if _cancelled_from_outside(error):
                raise
            return f"not done within {seconds:g} s" if limit.expired() else self._clean(text_of(error))
        return None

    @property
    def capacity(self) -> Capacity:
        """How many more attempts it may begin now; each lease is longer than any attempt can take."""
        free, lease = CONCURRENCY - self.in_flight, self.timeout + timedelta(seconds=60)
        return Capacity(self.recipient, self.notification_type, free, lease)

    async def attempt(self, notification: Notification, number: int, now: datetime) -> Outcome:
        """Send once. Whatever the channel does, the answer is an Outcome, without a secret in it.

        Only a cancellation from outside (the daemon stops) gets through.
        """
        seconds = self.timeout.total_seconds()
        words = _Words(notification, self.template, self.public_url, self.log)
        ctx = AttemptContext(notification, words, _Watching(self.http), self.dialer, self.log, now, number, seconds)
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
        notes = [words.note, note if isinstance(note, str) else ""]
        return self._outcome(Result.SENT, "; ".join(filter(None, notes)), ctx.http.status)

    def _bug(self, notification: Notification, error: BaseException) -> Outcome:
        where = self._clean("".join(traceback.format_exception(error)))
        self.log.error("the channel has a bug", delivery=notification.id, traceback=where)
        return self._outcome(Result.BUG, f"bug in the channel: {text_of(error)}")

    def _outcome(self, result: Result, reason: object, status: object = None, after: object = None) -> Outcome:
        """An outcome that can be kept, whatever a plugin put into its exception."""
        seconds = float(after) if isinstance(after, int | float) and math.isfinite(after) else None
        number = status if isinstance(status, int) else None
        return Outcome(result, self._clean(_text(reason))[:_REASON_LENGTH], number, seconds)

    def _clean(self, text: str) -> str:
        """The last guard: no secret of this config leaves in a text, whoever wrote it."""
        return _masked(text, self.secrets)


def lane_of(
    notification: NotificationSettings, registry: Registry, guard: Guard | None = None, public_url: str | None = None
) -> Lane:
    """The lane of a config, its channel made from its options; with a guard where the API made the config.

    NotifydError where the channel cannot be made.
    """
    options = notification.options
    channel = _made(notification, registry)
    dialer = Dialer(guard)
    reach = options if isinstance(options, HttpOptions) else None
    return Lane(
        recipient_of(notification),
        notification.notification_type,
        channel,
        HttpClient(timeout=notification.timeout.total_seconds(), dialer=dialer, options=reach),
        dialer,
        notification.timeout,
        log.bind(config=notification.name),
        notification.template,
        public_url or "",
        secrets_of(options),
    )


def _made(notification: NotificationSettings, registry: Registry) -> Channel[Any]:
    name, kind = notification.name, notification.notification_type
    try:
        return registry.channels[kind].cls(notification.options)
    except Exception as error:
        problem = f"{notification.where}: config {name}: the channel {kind} has a bug: {text_of(error)}"
        raise NotifydError(_masked(problem, secrets_of(notification.options))) from error


def _cancelled_from_outside(error: BaseException) -> bool:
    """Whether somebody cancelled this task, rather than the channel something of its own."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """What a channel may use during one attempt: `notifyd.api.Context`."""

    notification: Notification
    words: _Words
    http: _Watching
    dialer: Dialer
    log: Logger
    now: datetime
    attempt: int
    timeout: float

    @property
    def delivery_id(self) -> str:
        """Never changes between attempts."""
        return self.notification.id

    async def connect(self, host: str, port: int) -> socket.socket:
        """A TCP connection, where the guard allows one."""
        return await self.dialer.connect(host, port)

    def render(self) -> Rendered:
        """The notification as title, text and HTML."""
        return self.words.rendered()


@dataclass(slots=True)
class _Words:
    """A notification in the config's own words; in the default ones where its template fails, with a note of it."""

    notification: Notification
    template: Template
    public_url: str
    log: Logger
    note: str = ""

    def rendered(self) -> Rendered:
        try:
            return render(self.notification, self.template, self.public_url)
        except TemplateError as error:
            self.note = f"the template failed, so the default text went out: {error}"
            self.log.warning("the template failed, the default text goes out", why=str(error))
            return render(self.notification, public_url=self.public_url)


@dataclass(slots=True)
class _Watching:
    """The HTTP seam of one attempt: it remembers the last status, for the history."""

    inner: Http
    status: int | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float | None = None,
    ) -> Answer:
        """As `notifyd.api.Http`."""
        answer = await self.inner.request(method, url, headers=headers, body=body, timeout=timeout)
        self.status = answer.status
        return answer


def secrets_of(options: Any) -> tuple[str, ...]:
    """Every secret text in a channel's options, the longest first, so that no part of one is left standing."""
    found: set[str] = set()
    pending = [options]
    while pending:
        value = pending.pop()
        if isinstance(value, Secret):
            found.update(_texts_of(value) if value.resolved else [])
        elif isinstance(value, BaseModel):
            pending += [getattr(value, name) for name in type(value).model_fields]
        elif isinstance(value, Mapping):
            pending += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            pending += value
    return tuple(sorted(found, key=len, reverse=True))


def _texts_of(secret: Secret) -> Iterator[str]:
    """The secret, and of a URL also the parts that a library may name by themselves; not `/hook`, a word of its own."""
    yield secret.reveal()
    if isinstance(secret, SecretUrl):
        url = urlsplit(secret.reveal())
        parts = (url.path, url.query, f"{url.path}?{url.query}", url.username, url.password)
        yield from (part for part in parts if part and len(part) >= _LONG_ENOUGH)


def _text(reason: object) -> str:
    try:
        return str(reason)
    except Exception:
        return type(reason).__name__


def _masked(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text
