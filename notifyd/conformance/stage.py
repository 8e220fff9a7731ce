"""A channel at work, with the daemon's own context around it: its HTTP, its connections, its words."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from notifyd.api import Channel, Http, HttpOptions, Notification, Reject, Retry
from notifyd.api.masking import secrets_of
from notifyd.context import Attempt, Words
from notifyd.outbound import Dialer, Guard, HttpClient
from notifyd.patience import Patience, run

PATIENCE = 1.0
"""Seconds that a channel has beyond its time, before it is cancelled; as in the daemon."""


def options_of(kind: Any, given: object) -> Any:
    """The options as the settings file would make them of this; ValidationError where they are wrong."""
    text = json.dumps(given, default=str)
    return TypeAdapter(kind).validate_json(text, strict=True, context={"secrets": lambda kind, name: f"{kind} {name}"})


@dataclass(frozen=True)
class Ended:
    """How a send ended. `error` is what it raised: Retry, Reject, TimeoutError where it was cancelled, or a bug."""

    seconds: float
    note: Any = None
    error: BaseException | None = None

    @property
    def sent(self) -> bool:
        """Whether it says that the receiver has it."""
        return self.error is None

    @property
    def is_bug(self) -> bool:
        """Whether it raised what the daemon would record as a bug."""
        return self.error is not None and not isinstance(self.error, Retry | Reject | TimeoutError)

    def __str__(self) -> str:
        if self.error is None:
            return "it returned, which means sent"
        if isinstance(self.error, Retry | Reject):
            return f'it raised {type(self.error).__name__}("{self.error}")'
        return f"it raised {type(self.error).__name__}: {self.error}{_place(self.error)}"

    @property
    def words(self) -> str:
        """All that would reach people or a log: the note, the error, and its traceback where it is a bug."""
        shown = [str(self.note or ""), str(self.error or "")]
        if self.is_bug and self.error:
            shown += traceback.format_exception(self.error)
        return "\n".join(shown)


class Log:
    """A logger that keeps its lines as text."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _keep(self, event: str, **fields: Any) -> None:
        self.lines.append(" ".join([str(event), *(f"{name}={value}" for name, value in fields.items())]))

    debug = info = warning = error = _keep


@dataclass
class Stage:
    """One instance of a channel, open, and what it has logged."""

    channel: Channel[Any]
    http: Http
    dialer: Dialer
    timeout: float
    log: Log = field(default_factory=Log)

    async def send(self, notification: Notification, attempt: int = 1, http: Http | None = None) -> Ended:
        """One attempt, as the daemon makes it; a cancellation from outside gets through."""
        began = time.monotonic()
        ctx = self.context(notification, attempt, http)
        how = await Patience().ended(lambda: self.channel.send(notification, ctx), self.timeout + PATIENCE)
        error = how.error
        if how.left_behind:
            error = RuntimeError("it did not end when it was cancelled")
        elif how.late and isinstance(error, asyncio.CancelledError):
            error = TimeoutError()
        return Ended(time.monotonic() - began, how.value, error)

    def context(self, notification: Notification, attempt: int = 1, http: Http | None = None) -> Attempt:
        """What it is handed."""
        words = Words(notification, None, "", self.log)
        return Attempt(words, attempt, http or self.http, self.dialer, self.log, datetime.now(UTC), self.timeout)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody may read."""
        return secrets_of(self.channel.options)


@asynccontextmanager
async def staged(
    cls: type[Channel[Any]], given: Mapping[str, Any], *, timeout: float = 5.0, guard: Guard | None = None
) -> AsyncIterator[Stage]:
    """An open channel of this class with these options; closed at the end, with all its connections."""
    options = options_of(cls.Options, given)
    dialer = Dialer(guard)
    reach = options if isinstance(options, HttpOptions) else None
    http = HttpClient(timeout=timeout, dialer=dialer, options=reach)
    stage = Stage(cls(options), http, dialer, timeout)
    await stage.channel.open()
    try:
        yield stage
    finally:
        await stage.channel.close()
        await http.aclose()


def deliver(cls: type[Channel[Any]], given: Mapping[str, Any], notification: Notification) -> Ended:
    """Send one notification with a new instance of the channel, and say how it ended."""

    async def once() -> Ended:
        async with staged(cls, given) as stage:
            return await stage.send(notification)

    return run(once())


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
