"""What a channel is, and what it is given."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from notifyd.api.http import Http
from notifyd.api.options import Options as BaseOptions
from notifyd.model import Notification

O = TypeVar("O", bound=BaseOptions)  # noqa: E741


@dataclass(frozen=True, slots=True)
class Rendered:
    """A notification as words. `html` is complete and every value in it is escaped.

    A config may have a template of its own: then `title` and `text` are what it says, and `body` is that
    text, to be shown in the place of a layout of yours. `link` leads to what the daemon knows of it.
    """

    title: str
    text: str
    html: str
    body: str | None = None  # None where the config has no template for it
    link: str = ""  # empty where notifyd has no public address


class Logger(Protocol):
    """A structured logger: `ctx.log.info("connected", server="…")`. Never give it a secret."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class CheckContext(Protocol):
    """What a channel may use while it is checked, and while it sends."""

    @property
    def http(self) -> Http:
        """HTTP with timeouts and the guard built in."""
        ...

    async def connect(self, host: str, port: int) -> socket.socket:
        """A TCP connection for what is not HTTP: connected, non-blocking, and behind the same guard.

        Hand it to your library as its socket, and the host only as the name to check a certificate
        against: a library that resolves the name again gets around the guard. Closing it is up to you.
        Raises Retry when no connection came about and Reject when the host may not be called at all.
        """
        ...

    @property
    def log(self) -> Logger:
        """Its lines carry the config's name, and the delivery's id while one is sent."""
        ...

    @property
    def now(self) -> datetime:
        """When this attempt, or this check, began, UTC."""
        ...

    @property
    def timeout(self) -> float:
        """Seconds until this attempt, or this check, is cancelled."""
        ...


class Context(CheckContext, Protocol):
    """What a channel may use while it sends one notification."""

    @property
    def attempt(self) -> int:
        """1 for the first try."""
        ...

    @property
    def delivery_id(self) -> str:
        """Never changes between attempts: give it to the receiver so that it can drop a repeat."""
        ...

    def render(self) -> Rendered:
        """The notification as title, text and HTML: the same words that our own channels send."""
        ...


class Channel(ABC, Generic[O]):
    """Sends notifications to one kind of place. One instance per config, made at start.

    `name` is the `notification_type` in TOML and JSON; `Options` is a pydantic model of its options.
    """

    name: ClassVar[str]
    Options: ClassVar[type[BaseOptions]]
    api_version: ClassVar[int] = 1  # the major version of this API that it is written for
    api_allowed: ClassVar[bool] = True  # False: only a TOML file may use it, never the API

    def __init__(self, options: O) -> None:
        self.options = options

    async def open(self) -> None:
        """Called once before the first send; connections may be made here or at the first send."""

    async def close(self) -> None:
        """Called once when the daemon stops or the config goes away."""

    async def check(self, ctx: CheckContext) -> str | None:
        """See whether it could send, and send nothing: is the place there, is the login right?
        Over HTTP it asks by GET or HEAD.

        `notifyd doctor` asks it. Return what was seen, as a line for a person, or None; raise Retry or
        Reject with what is wrong. A channel that does not override it has nothing to check.
        """
        return None

    @abstractmethod
    async def send(self, notification: Notification, ctx: Context) -> str | None:
        """Send it, and return only when the receiver has taken it.

        A text that is returned is kept in the history beside "sent": what a person should know of it
        all the same, such as the recipients that were refused.
        Raise Retry(reason, after) when it may work later and Reject(reason) when it never will.
        Any other exception is a bug: it is recorded with its traceback in the log, and retried.
        """
