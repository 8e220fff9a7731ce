"""A lane: one config on its way out. It makes one attempt at a delivery and says what came of it."""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from pydantic import BaseModel

from notifyd.api import Answer, Channel, Http, HttpOptions, Notification, Reject, Rendered, Retry
from notifyd.api.channel import Logger
from notifyd.api.options import MASK, Secret
from notifyd.core.plan import Recipient
from notifyd.filtering import recipient_of
from notifyd.model import Outcome, Result
from notifyd.outbound import Dialer, Guard, HttpClient
from notifyd.plugin_host import Registry
from notifyd.render import render
from notifyd.settings import NotificationSettings
from notifyd.store.outbox import Capacity

CONCURRENCY = 8
"""Attempts at once per config: as many as an endpoint has connections."""

_REASON_LENGTH = 1000
_PATIENCE = 1.0

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
    secrets: tuple[str, ...] = ()
    in_flight: int = 0

    async def open(self) -> None:
        """Let the channel make its connections. One that cannot is a bug that its attempts will show."""
        try:
            await self.channel.open()
        except Exception as error:
            self.log.error("the channel did not open", why=self._clean(f"{type(error).__name__}: {error}"))

    async def close(self) -> None:
        """Let the channel and its HTTP connections go."""
        try:
            await self.channel.close()
        except Exception as error:
            self.log.warning("the channel did not close", why=self._clean(f"{type(error).__name__}: {error}"))
        await self.http.aclose()

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
        ctx = AttemptContext(notification, _Watching(self.http), self.dialer, self.log, now, number, seconds)
        # A little longer than the channel's own, whose words say more about what was slow.
        limit = asyncio.timeout(seconds + _PATIENCE)
        try:
            async with limit:
                note = await self.channel.send(notification, ctx)
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            return self._bug(notification, error)
        except Retry as retry:
            return self._outcome(Result.RETRY, retry.reason, retry.status_code, retry.after)
        except Reject as reject:
            return self._outcome(Result.REJECTED, reject.reason, reject.status_code)
        except BaseException as error:  # also SystemExit, which would end the process from inside a task
            if limit.expired():
                return self._outcome(Result.RETRY, f"no answer within {seconds:g} s")
            return self._bug(notification, error)
        return self._outcome(Result.SENT, note if isinstance(note, str) else "", ctx.http.status)

    def _bug(self, notification: Notification, error: BaseException) -> Outcome:
        where = self._clean("".join(traceback.format_exception(error)))
        self.log.error("the channel has a bug", delivery=notification.id, traceback=where)
        return self._outcome(Result.BUG, f"bug in the channel: {type(error).__name__}: {error}")

    def _outcome(self, result: Result, reason: str, status: int | None = None, after: float | None = None) -> Outcome:
        return Outcome(result, self._clean(reason)[:_REASON_LENGTH], status, after)

    def _clean(self, text: str) -> str:
        """The last guard: no secret of this config leaves in a text, whoever wrote it."""
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return text


def lane_of(notification: NotificationSettings, registry: Registry, guard: Guard | None = None) -> Lane:
    """The lane of a config, its channel made from its options; with a guard where the API made the config."""
    options = notification.options
    channel = registry.channels[notification.notification_type].cls(options)
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
        secrets_of(options),
    )


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """What a channel may use during one attempt: `notifyd.api.Context`."""

    notification: Notification
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
        return render(self.notification)


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
            found.update([value.reveal()] if value.resolved else [])
        elif isinstance(value, BaseModel):
            pending += [getattr(value, name) for name in type(value).model_fields]
        elif isinstance(value, Mapping):
            pending += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            pending += value
    return tuple(sorted(found, key=len, reverse=True))
