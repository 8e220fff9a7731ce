"""A real HTTP server on loopback that answers as a test says, and remembers what it was asked.

    async with HttpSink() as sink:
        sink.script = [503, HANG]           # what the first requests get, in order
        sink.answer = 204                   # what every later one gets (default: 200)
        ...                                 # make something POST to sink.url + "/hook"
        first, second, third = await sink.wait_for(3)
        assert third.json() == {...}

A reply is a status, `(status, headers, body)`, raw bytes (written as they are, then the connection is
closed), HANG, RESET, RESET_IN_BODY, HALF_CLOSE, DRIP or DRIP_BODY; or a callable, also an async one, from
Request to a reply.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple, Self


class Behaviour(enum.Enum):
    """Replies that are no HTTP answer."""

    HANG = "read the request and never say a word"
    RESET = "reset the connection instead of an answer"
    RESET_IN_BODY = "promise 1,000 bytes, send ten and reset"
    HALF_CLOSE = "say that nothing more will be sent, and go on reading"
    DRIP = "send a header line every 50 ms, for ever"
    DRIP_BODY = "answer 200, and send a byte of its body every 50 ms"


HANG, RESET, RESET_IN_BODY, HALF_CLOSE, DRIP, DRIP_BODY = Behaviour


class Request(NamedTuple):
    """What was asked. Header names are lower case; `at` is when the request was complete, UTC."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: datetime

    def json(self) -> Any:
        return json.loads(self.body)


Reply = int | tuple[int, Mapping[str, str], bytes] | bytes | Behaviour
Answer = Reply | Callable[[Request], Reply | Awaitable[Reply]]


class HttpSink:
    """See the module's docstring. `port=0` takes a free one; `tls` makes it https."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.script: list[Answer] = []
        self.answer: Answer = 200
        self.requests: list[Request] = []
        self.connections = 0  # accepted so far
        self._changed = asyncio.Condition()
        self._open: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connection, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def wait_for(self, count: int, timeout: float = 10) -> list[Request]:
        """All requests so far, once there are at least `count`; fails the test after `timeout` seconds."""
        try:
            await self._wait_until(lambda: len(self.requests) >= count, timeout)
        except TimeoutError:
            raise AssertionError(f"{len(self.requests)} of {count} requests came within {timeout} s") from None
        return list(self.requests)

    async def wait_until_deserted(self, timeout: float = 10) -> None:
        """Return once no connection is open."""
        try:
            await self._wait_until(lambda: not self._open, timeout)
        except TimeoutError:
            raise AssertionError(f"{len(self._open)} connections are still open after {timeout} s") from None

    async def _wait_until(self, condition: Callable[[], bool], timeout: float) -> None:
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - the server runs this in one
        self._open.add(task)
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                while await self._exchange(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass  # the sink closes; asyncio's stream server would log a cancelled connection as an error
        finally:
            writer.transport.abort()
            self._open.discard(task)
            async with self._changed:
                self._changed.notify_all()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its reply; whether the connection goes on."""
        request = await _read(reader)
        async with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        reply = await self._reply(request)
        match reply:
            case Behaviour():
                await _misbehave(reply, reader, writer)
                return False
            case bytes():
                writer.write(reply)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
                return False
            case int():
                writer.write(_answer(reply, {}, b""))
            case (status, headers, body):
                writer.write(_answer(status, headers, body))
        await writer.drain()
        return True

    async def _reply(self, request: Request) -> Reply:
        answer = self.script.pop(0) if self.script else self.answer
        if not callable(answer):
            return answer
        reply = answer(request)
        return await reply if inspect.isawaitable(reply) else reply


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "transfer-encoding" in headers:
        raise AssertionError("the sink reads bodies with a Content-Length only")
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body, datetime.now(UTC))


def _answer(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    if status != 204:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _misbehave(reply: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if reply is HANG:
        await reader.read()  # until the other side gives up
    elif reply is HALF_CLOSE:
        writer.write_eof()
        await reader.read()
    elif reply in (DRIP, DRIP_BODY):
        writer.write(b"HTTP/1.1 200 OK\r\n")
        writer.write(b"Content-Length: 1000\r\n\r\n" if reply is DRIP_BODY else b"")
        while not reader.at_eof():
            writer.write(b"x" if reply is DRIP_BODY else b"X-Patience: please\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)
    else:
        if reply is RESET_IN_BODY:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789")
            await writer.drain()
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
