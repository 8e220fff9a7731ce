"""What a channel is handed: exactly what `notifyd.api` promises of its contexts, and nothing else of the daemon.

Words, connections and log lines go through here, so that here is also where they are bounded: secrets are taken
out of what is logged, and the last HTTP status is remembered for the history.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from notifyd.api import Answer, Http, Logger, Notification, Rendered
from notifyd.api.masking import masked
from notifyd.outbound import Dialer
from notifyd.render import Template, TemplateError, render


class ChannelLog:
    """A channel's logger: four levels, and no secret of its config in what it says."""

    __slots__ = ("_inner", "_secrets")

    def __init__(self, inner: Logger, secrets: Iterable[str]) -> None:
        self._inner, self._secrets = inner, tuple(secrets)

    def debug(self, event: str, **fields: Any) -> None:
        """For whoever looks for a fault."""
        self._inner.debug(self._clean(event), **self._cleaned(fields))

    def info(self, event: str, **fields: Any) -> None:
        """For whoever reads along."""
        self._inner.info(self._clean(event), **self._cleaned(fields))

    def warning(self, event: str, **fields: Any) -> None:
        """What may become a fault."""
        self._inner.warning(self._clean(event), **self._cleaned(fields))

    def error(self, event: str, **fields: Any) -> None:
        """A fault."""
        self._inner.error(self._clean(event), **self._cleaned(fields))

    def _cleaned(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {self._clean(name): self._plain(value) for name, value in fields.items() if name not in _RESERVED}

    def _plain(self, value: object) -> object:
        return value if value is None or isinstance(value, bool | int | float) else self._clean(value)

    def _clean(self, value: object) -> str:
        return masked(text_of(value), self._secrets)


_RESERVED = frozenset({"event", "exc_info", "stack_info"})  # words of the logger itself


def text_of(value: object) -> str:
    """A foreign value as text; only its kind, where it cannot be one."""
    try:
        return str(value)
    except Exception:
        return type(value).__name__


class Watching:
    """The HTTP seam of one attempt: it remembers the last answer's status and note, for the history."""

    __slots__ = ("_inner", "_note", "_status")

    def __init__(self, inner: Http) -> None:
        self._inner = inner
        self._status: int | None = None
        self._note = ""

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
        answer = await self._inner.request(method, url, headers=headers, body=body, timeout=timeout)
        self._status, self._note = answer.status, answer.note
        return answer


def last_status(http: Watching) -> int | None:
    """Of the last answer, if there was one."""
    return http._status


def last_note(http: Watching) -> str:
    """Of the last answer; empty where there is nothing to say."""
    return http._note


class CheckUp:
    """What a channel may use while it is checked: `notifyd.api.CheckContext`."""

    def __init__(self, http: Http, dialer: Dialer, log: Logger, now: datetime, timeout: float) -> None:
        self._http, self._dialer, self._log, self._now, self._timeout = Watching(http), dialer, log, now, timeout

    @property
    def http(self) -> Watching:
        """HTTP with timeouts and the guard built in."""
        return self._http

    @property
    def log(self) -> Logger:
        """Its lines carry the config's name."""
        return self._log

    @property
    def now(self) -> datetime:
        """When it began."""
        return self._now

    @property
    def timeout(self) -> float:
        """Seconds until it is cancelled."""
        return self._timeout

    async def connect(self, host: str, port: int) -> socket.socket:
        """A TCP connection, where the guard allows one."""
        return await self._dialer.connect(host, port)


class Attempt(CheckUp):
    """What a channel may use during one attempt: `notifyd.api.Context`."""

    def __init__(
        self, words: Words, number: int, http: Http, dialer: Dialer, log: Logger, now: datetime, timeout: float
    ) -> None:
        super().__init__(http, dialer, log, now, timeout)
        self._words, self._number = words, number

    @property
    def attempt(self) -> int:
        """1 for the first try."""
        return self._number

    @property
    def delivery_id(self) -> str:
        """Never changes between attempts."""
        return self._words.notification.id

    def render(self) -> Rendered:
        """The notification as title, text and HTML."""
        return self._words.rendered()


class Words:
    """A notification in the config's own words; in the default ones where its template fails, with a note of it.

    `stall` says that the attempt blocked the daemon, and where, if it did.
    """

    def __init__(self, notification: Notification, template: Template | None, public_url: str, log: Logger) -> None:
        self.notification, self.note, self.stall = notification, "", ""
        self._template, self._public_url, self._log = template, public_url, log

    def rendered(self) -> Rendered:
        """What the channel is to say."""
        try:
            return render(self.notification, self._template, self._public_url)
        except TemplateError as error:
            self.note = f"the template failed, so the default text went out: {error}"
            self._log.warning("the template failed, the default text goes out", why=str(error))
            return render(self.notification, public_url=self._public_url)
