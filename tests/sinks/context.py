"""What a channel under test is handed: a notification, and a context that keeps what is logged."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from notifyd.api import Http, Notification, Rendered
from notifyd.conformance.samples import NOW, a_notification, an_event
from notifyd.outbound import Dialer
from notifyd.render import Template, render

__all__ = ["NOW", "Line", "LogLines", "NoHttp", "TestContext", "a_notification", "an_event"]


class Line(NamedTuple):
    """One line that a channel logged."""

    level: str
    event: str
    fields: dict[str, Any]


class LogLines:
    """A logger that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def debug(self, event: str, **fields: Any) -> None:
        self.lines.append(Line("debug", event, fields))

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(Line("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(Line("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append(Line("error", event, fields))


class NoHttp:
    """The HTTP of a channel that has no use for it."""

    async def request(self, method: str, url: str, **_: Any) -> Any:
        raise AssertionError(f"this test expects no HTTP, but the channel asked for {method} {url}")


@dataclass
class TestContext:
    """The context of one attempt: `await channel.send(notification, TestContext(notification, http=…))`."""

    __test__ = False  # not a test case, whatever pytest makes of its name

    notification: Notification
    http: Http = field(default_factory=NoHttp)
    dialer: Dialer = field(default_factory=Dialer)
    log: LogLines = field(default_factory=LogLines)
    now: datetime = NOW
    attempt: int = 1
    delivery_id: str = "0192f0c1e5b27c3d"
    timeout: float = 5.0
    template: Template | None = None
    public_url: str = ""

    async def connect(self, host: str, port: int) -> socket.socket:
        """A real connection."""
        return await self.dialer.connect(host, port)

    def render(self) -> Rendered:
        """The notification in the daemon's own words, or in those of the template."""
        return render(self.notification, self.template, self.public_url)
