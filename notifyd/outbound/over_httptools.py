"""A connection of our own on the event loop, for which httptools reads the answers: the extra `fast`.

httptools is llhttp, the parser of Node.js, told to take the same answers as h11, with which httpcore reads.
What is written is short: one head, one body.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

import httptools

from notifyd.outbound.dialer import Dialer
from notifyd.outbound.target import Target
from notifyd.outbound.wire import LARGEST_HEAD, NO_ANSWER, NOT_HTTP, NOT_WHOLE, Broken, Connection, Reply, Request


class Httptools:
    """Makes the connections of one config."""

    def __init__(self, dialer: Dialer, tls: ssl.SSLContext) -> None:
        self._dialer, self._tls = dialer, tls

    def __call__(self, target: Target) -> Connection:
        """A connection to this target, not yet made."""
        return _Connection(self._dialer, self._tls if target.scheme == "https" else None)


class _Connection(asyncio.Protocol):
    def __init__(self, dialer: Dialer, tls: ssl.SSLContext | None) -> None:
        self._dialer, self._tls = dialer, tls
        self._transport: asyncio.Transport | None = None
        self._reading: _Reading | None = None
        self._lost = asyncio.Event()
        self._reusable = self._spoke_first = False

    @property
    def idle(self) -> bool:
        return self._reusable and self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: Request, reply: Reply) -> None:
        if self._transport is None:
            await self._connect(request.target)
        transport = cast("asyncio.Transport", self._transport)
        if transport.is_closing():
            raise Broken(NOT_HTTP if self._spoke_first else NO_ANSWER)
        self._reusable = False
        self._reading = reading = _Reading(reply, has_body=request.method != "HEAD")
        transport.write(_written(request))
        try:
            await reading.done
        finally:
            self._reading = None
            reading.forget()
        self._reusable = reading.may_go_on and not transport.get_write_buffer_size()

    async def aclose(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            await self._lost.wait()

    async def _connect(self, target: Target) -> None:
        connection = await self._dialer.open(target.host, target.port)
        name = target.host if self._tls else None
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: self, sock=connection, ssl=self._tls, server_hostname=name
            )
        except BaseException:
            connection.close()  # a handshake that is cancelled would leave it open
            raise

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._reading:
            self._reading.feed(data)
        elif self._transport:
            self._spoke_first = True
            self._transport.abort()  # nobody asked: whatever it is, the next answer is not to begin with it

    def eof_received(self) -> None:
        if self._reading:
            self._reading.end()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost.set()
        if self._reading:
            self._reading.end(error)


def _written(request: Request) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (request.method.encode(), request.target.path)]
    lines += [b"%b: %b" % line for line in request.headers]
    return b"\r\n".join([*lines, b"", request.body])


class _Reading:
    """One answer while it comes in; `done` is set when it is whole, or broken."""

    def __init__(self, reply: Reply, *, has_body: bool) -> None:
        self.reply = reply
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.may_go_on = False  # the connection, with another request
        self._has_body = has_body
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_chunked_length=True, lenient_optional_cr_before_lf=True
        )
        self._lines: list[tuple[bytes, bytes]] = []
        self._size = 0  # of what came before the body
        self._keeps = self._until_the_end = False

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        if self.done.done():
            self.may_go_on = False
            return
        if not self.reply.status:
            self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.may_go_on = False
        except httptools.HttpParserError:
            if self._lines and not self.done.done() and not self.reply.status:
                self._take_head()  # of headers that h11 understands, such as a length that is given twice
            self._break(Broken(NOT_HTTP))
        if self._size > LARGEST_HEAD and not self.reply.status:
            self._break(Broken(NOT_HTTP))

    def end(self, error: Exception | None = None) -> None:
        """Nothing more will come."""
        if self._until_the_end and not error:
            self._finish(keeps=False)
        else:
            self._break(error or Broken(NOT_WHOLE if self.reply.status else NO_ANSWER))

    def forget(self) -> None:
        """The parser knows this object, so this object lets the parser go."""
        del self._parser

    # What the parser calls

    def on_message_begin(self) -> None:
        self._lines = []
        if self.done.done():
            self.may_go_on = False  # a second answer, to nothing

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 101:
            self._break(Broken(NOT_HTTP))  # nobody asked for another protocol
        if self.done.done() or 100 <= status < 200:
            return  # as if it were not there: the answer is still to come
        self._take_head()
        framed = {"content-length", "transfer-encoding"} & self.reply.headers.keys()
        self._keeps = self._parser.should_keep_alive() and len(framed) == 1  # of two ends, one is wrong
        self._until_the_end = not framed and status not in (204, 304)
        if not self._has_body:
            self._finish(keeps=False)

    def on_body(self, data: bytes) -> None:
        if not self.done.done() and self.reply.take_body(data):
            self._finish(keeps=False)

    def on_message_complete(self) -> None:
        if self.reply.status:
            self._finish(keeps=self._keeps)

    def _take_head(self) -> None:
        """A status line with at least one header is an answer."""
        if (status := self._parser.get_status_code()) >= 200:
            self.reply.take_headers(self._lines)
            self.reply.status = status

    def _finish(self, *, keeps: bool) -> None:
        if not self.done.done():
            self.may_go_on = keeps
            self.done.set_result(None)

    def _break(self, error: Exception) -> None:
        self.may_go_on = False
        if not self.done.done():
            self.done.set_exception(error)
