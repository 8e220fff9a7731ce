"""A real HTTP proxy on loopback: it tunnels CONNECT to where it is told, and remembers what it was asked.

    async with HttpProxy() as proxy:
        proxy.answer = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"   # else it lets everything through
        ...                                                                     # make something go through proxy.url
        assert proxy.requests[0].path == "sink.example:443"

A request with a whole URL in its first line is answered with 202, and goes nowhere.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Self

from tests.sinks.http import Request


class HttpProxy:
    """See the module's docstring."""

    def __init__(self) -> None:
        self.answer: bytes | None = None
        self.leads_to: tuple[str, int] | None = None  # in the place of what CONNECT names, as a DNS of its own would
        self.requests: list[Request] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _head(reader)
        self.requests.append(request)
        if self.answer is not None:
            writer.write(self.answer)
            await writer.drain()
        elif request.method == "CONNECT":
            await self._tunnel(request, reader, writer)
        else:
            await reader.readexactly(int(request.headers.get("content-length", "0")))
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

    async def _tunnel(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = request.path.rpartition(":")
        there = await asyncio.open_connection(*(self.leads_to or (host, int(port))))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))


async def _head(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(method, path, headers, b"", datetime.now(UTC))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
