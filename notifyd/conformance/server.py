"""The place that a channel under test sends to, on a thread of its own, so that a channel that blocks is seen."""

from __future__ import annotations

import asyncio
import enum
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from typing import Any, Self, TypeVar

from notifyd.conformance.http_sink import HANG, RESET, RESET_IN_BODY, Answer, HttpSink, Reply, Request

T = TypeVar("T")

SLOWNESS = 0.6
"""Seconds that a slow server takes to answer."""


class Mood(enum.Enum):
    """How a server behaves, whatever it speaks."""

    TAKES = "takes what it is sent"
    SLOW = "takes it, slowly"
    NOT_NOW = "says that it cannot take it now"
    NEVER = "says that it will never take it"
    HANGS = "says nothing"
    BREAKS_OFF = "drops the connection instead of an answer"
    BREAKS_OFF_LATE = "drops the connection in the middle of an answer"
    NONSENSE = "answers what nobody understands"


class Server(ABC):
    """Somewhere to send to, in one of the moods. `with` starts it, and the end of that stops it.

    For a protocol of your own: subclass it, and give it to the kit as `ChannelTests.server`.
    """

    host = "127.0.0.1"
    port = 0

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *error: object) -> None: ...

    @abstractmethod
    def be(self, mood: Mood) -> None:
        """Behave so from now on."""

    @property
    @abstractmethod
    def received(self) -> list[str]:
        """What it was sent so far and took, one text each: all that a person could find in it."""


class HttpServer(Server):
    """A real HTTP server: `requests` are those so far, and `answer` says what it answers.

    with HttpServer() as server:
        server.answer(429, {"Retry-After": "30"})
        … something sends to server.url …
        assert server.requests[0].json() == {…}
    """

    def __init__(self, taken: Reply = 200) -> None:
        self._taken, self._sink = taken, HttpSink(self.host)
        self._secret_path = f"/kit-{secrets.token_hex(8)}"

    @property
    def url(self) -> str:
        """Where it is, with a path that nobody can guess."""
        return self._sink.url + self._secret_path

    @property
    def requests(self) -> list[Request]:
        """Each has `method`, `path`, `headers` (lower case), `body` and `json()`."""
        return list(self._sink.requests)

    @property
    def received(self) -> list[str]:
        """Each request as text, its JSON with every character as itself."""
        return [_legible(request) for request in self._sink.requests]

    def answer(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """Answer so from now on."""
        self._sink.answer = (status, headers or {}, body)

    def be(self, mood: Mood) -> None:
        """Behave so from now on."""
        moods: Mapping[Mood, Answer] = {
            Mood.TAKES: self._taken,
            Mood.SLOW: self._slowly,
            Mood.NOT_NOW: (503, {}, b"busy"),
            Mood.NEVER: (410, {}, b"gone"),
            Mood.HANGS: HANG,
            Mood.BREAKS_OFF: RESET,
            Mood.BREAKS_OFF_LATE: RESET_IN_BODY,
            Mood.NONSENSE: b"\x15\x03\x01\x00\x02\x02P I am no web server\r\n\r\n",
        }
        self._sink.answer = moods[mood]

    async def _slowly(self, _: Request) -> Reply:
        await asyncio.sleep(SLOWNESS)
        return self._taken

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="notifyd kit: http", daemon=True)
        self._thread.start()
        self._do(self._sink.__aenter__())
        self.port = self._sink.port
        self.be(Mood.TAKES)
        return self

    def __exit__(self, *error: object) -> None:
        self._do(self._sink.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)


def _legible(request: Request) -> str:
    head = f"{request.method} {request.path}\n" + "\n".join(f"{k}: {v}" for k, v in request.headers.items())
    try:
        body = str(request.json())
    except ValueError:
        body = request.body.decode(errors="replace")
    return f"{head}\n\n{body}"
