"""What goes over one connection: a request, and the answer as it comes in.

Two libraries can speak for a connection, and both look the same from here: over_httpcore.py, which is always there,
and over_httptools.py, of the extra `fast`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from notifyd.outbound.target import Target

LARGEST_BODY = 64 * 1024
"""Bytes of an answer that are read before its connection is dropped."""

LARGEST_HEAD = 100 * 1024
"""Bytes of status line and headers together."""

NO_ANSWER = "it closed the connection without an answer"
NOT_WHOLE = "it closed the connection in the middle of its answer"
NOT_HTTP = "what it answered is not HTTP"


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be written. Header names are lower case; the first is the host."""

    method: str
    target: Target
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(slots=True)
class Reply:
    """An answer as far as it has come. `status` is 0 until its last header is there."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case
    body: bytearray = field(default_factory=bytearray)

    def take_headers(self, lines: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep them, those of one name as one."""
        for raw_name, raw_value in lines:
            name, value = raw_name.decode("latin-1").lower(), _text(raw_value)
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value

    def take_body(self, data: bytes) -> bool:
        """Keep it, and say whether that is enough of it."""
        self.body += data[: LARGEST_BODY - len(self.body)]
        return len(self.body) == LARGEST_BODY


class Connection(Protocol):
    """One connection to one endpoint, made at its first request."""

    @property
    def idle(self) -> bool:
        """Whether it can take another request."""
        ...

    async def exchange(self, request: Request, reply: Reply) -> None:
        """Send, and fill the reply until it is whole or its body is long enough.

        Raises Broken, OSError (ssl.SSLError is one), Unwritable, and what the dialer raises.
        """
        ...

    async def aclose(self) -> None:
        """Close it, whatever state it is in."""
        ...


Connect = Callable[[Target], Connection]


class Broken(Exception):
    """No whole answer came. Its text is for people; where it has none, its causes say why."""


class Unreached(Broken):
    """No connection came about."""


class ProxyRefused(Broken):
    """The proxy lets nothing through."""


class Unwritable(Exception):
    """The request cannot be written as HTTP."""


def _text(value: bytes) -> str:
    """A header's value is in UTF-8 these days, or else in latin-1, in which anything can be read."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
