"""A real SMTP server that keeps what it is sent, and answers as it is told.

    with SmtpSink() as sink:                       # or: async with SmtpSink() as sink
        sink.answer("RCPT", "451 4.2.1 try later", address="b@example.com")
        … send to sink.host and sink.port …
        [received] = await sink.wait_for(1)
        assert received.message["Subject"] == "…"

It runs on a thread and an event loop of its own, so that a test (or a daemon beside it) may block.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

T = TypeVar("T")


class Deed(enum.Enum):
    """What a server may do instead of answering."""

    DROP = "close the connection"
    HANG = "say nothing, for ever"


Phase = Literal["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "END-OF-DATA", "QUIT"]


@dataclass(frozen=True)
class Received:
    """One message that was accepted, with its envelope."""

    message: EmailMessage
    content: bytes
    sender: str
    recipients: tuple[str, ...]
    tls: bool
    username: str | None

    def part(self, subtype: Literal["plain", "html"]) -> str:
        """The message's body in that form, with plain line ends."""
        body = self.message.get_body((subtype,))
        assert body is not None, f"the message has no text/{subtype}"
        return str(body.get_content()).replace("\r\n", "\n")


@dataclass
class Scripted:
    """An answer to give in one phase, to one address if it names one, so many times."""

    phase: Phase
    reply: str | Deed
    address: str
    times: float

    def fits(self, phase: str, argument: str | None) -> bool:
        """Whether this is the answer to `phase`, said with `argument`."""
        addressed = not self.address or f"<{self.address}>" in (argument or "")
        return self.times > 0 and self.phase == phase and addressed


@dataclass
class SmtpSink:
    """One server on one port.

    `users` (name → password) makes a login necessary. `tls` with a `certificate` offers STARTTLS, or speaks
    TLS from the first byte: `trustme.CA().issue_cert("127.0.0.1")` makes one. With `smtputf8` it takes
    addresses in any script. `port` 0 is any free one.
    `messages` are those accepted so far, and `commands` counts what clients said.
    """

    users: dict[str, str] = field(default_factory=dict)
    tls: Literal["starttls", "implicit"] | None = None
    certificate: trustme.LeafCert | None = None
    smtputf8: bool = False
    host: str = "127.0.0.1"
    port: int = 0
    messages: list[Received] = field(default_factory=list, init=False)
    commands: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        self._script: list[Scripted] = []
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Condition()
        self._thread = threading.Thread(target=self._loop.run_forever, name="smtp-sink")
        self._server: asyncio.Server | None = None

    # What a test says to it

    def answer(self, phase: Phase, reply: str | Deed, *, address: str = "", times: float = float("inf")) -> None:
        """Reply so in this phase from now on; of several answers that fit, the oldest is given.

        A phase is an SMTP command, CONNECT (the greeting), or END-OF-DATA (once the message is there).
        """
        self._script.append(Scripted(phase, reply, address, times))

    def relent(self) -> None:
        """Forget every scripted answer."""
        self._script.clear()

    async def wait_for(self, count: int, timeout: float = 10) -> list[Received]:
        """The messages, once there are `count` of them."""
        return await asyncio.wrap_future(self._submit(self._until_received(count, timeout)))

    def wait(self, count: int, timeout: float = 10) -> list[Received]:
        """`wait_for`, for a test that is not asynchronous."""
        return self._submit(self._until_received(count, timeout)).result()

    async def wait_for_command(self, command: str, timeout: float = 10) -> None:
        """Return once the command was given (CONNECT: once someone came)."""
        await asyncio.wrap_future(self._submit(self._until(lambda: self.commands[command] > 0, timeout, command)))

    async def wait_until_idle(self, timeout: float = 10) -> None:
        """Return once no connection is open."""
        await asyncio.wrap_future(self._submit(self._until(lambda: not self._connections, timeout, "the last hang-up")))

    async def hang_up(self, farewell: str = "") -> None:
        """Close every connection from this side, as servers do when nothing was said for a while."""
        await asyncio.wrap_future(self._submit(self._hang_up(farewell)))

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._connections)

    # Its life

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._submit(self._listen()).result()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._submit(self._close()).result()
        self._stop()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(
            lambda: _Connection(self),
            self.host,
            self.port,
            ssl=self.tls_context if self.tls == "implicit" else None,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _hang_up(self, farewell: str) -> None:
        for connection in list(self._connections):
            if farewell:
                await connection.push(farewell)
            connection.hang_up()
        await self._until(lambda: not self._connections, 10, "the last hang-up")

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self._server.wait_closed()
        for _ in range(5):  # a task that ends may close a connection, whose end is another task
            leftover = asyncio.all_tasks() - {asyncio.current_task()}
            for task in leftover:
                task.cancel()
            await asyncio.gather(*leftover, return_exceptions=True)
            await asyncio.sleep(0)

    # What its connections ask

    @functools.cached_property
    def tls_context(self) -> ssl.SSLContext | None:
        """The server's side of TLS."""
        if self.tls is None:
            return None
        assert self.certificate is not None, "TLS needs a certificate"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certificate.configure_cert(context)
        return context

    def scripted(self, phase: str, argument: str | None) -> str | Deed | None:
        """The answer that a test wants here, if any."""
        for answer in self._script:
            if answer.fits(phase, argument):
                answer.times -= 1
                return answer.reply
        return None

    async def note(self, change: Callable[[], object]) -> None:
        """Make a change that someone may wait for."""
        async with self._changed:
            change()
            self._changed.notify_all()

    def opened(self, connection: _Connection) -> None:
        self._connections.add(connection)

    def closed(self, connection: _Connection) -> None:
        self._loop.create_task(self.note(lambda: self._connections.discard(connection)))

    async def _until_received(self, count: int, timeout: float) -> list[Received]:
        await self._until(lambda: len(self.messages) >= count, timeout, f"message {count}")
        return list(self.messages)

    async def _until(self, true: Callable[[], bool], timeout: float, what: str) -> None:
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(true)
        except TimeoutError:
            came = f"{len(self.messages)} messages and {dict(self.commands)} came"
            raise AssertionError(f"waited {timeout} s for {what}: {came}") from None


class _Connection(SMTP):
    """One connection; every command passes by the script first."""

    def __init__(self, sink: SmtpSink) -> None:
        super().__init__(
            _Hooks(sink),
            hostname="sink.example.com",
            tls_context=sink.tls_context if sink.tls == "starttls" else None,
            auth_require_tls=sink.tls == "starttls",
            authenticator=self._check_login,
            enable_SMTPUTF8=sink.smtputf8,
        )
        self._sink = sink
        self._smtp_methods = {
            command: functools.partial(self._act, command, method) for command, method in self._smtp_methods.items()
        }

    @property
    def encrypted(self) -> bool:
        """Whether the client speaks TLS by now."""
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sink.opened(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._sink.closed(self)

    def abort(self) -> None:
        """Drop the connection without a word."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    def hang_up(self) -> None:
        """End the connection in an orderly way."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.close()

    async def reply(self, phase: str, argument: str | None) -> bytes | None:
        """What the script says here; None if nothing. A deed is done, and never returns."""
        await self._sink.note(lambda: self._sink.commands.update([phase]))
        scripted = self._sink.scripted(phase, argument)
        if isinstance(scripted, Deed):
            await self._do(scripted)
        return scripted.encode() if isinstance(scripted, str) else None

    async def _do(self, deed: Deed) -> None:
        """Drop the connection, or wait until the client does: either cancels this task."""
        if deed is Deed.DROP:
            self.abort()
        try:
            await asyncio.Event().wait()
        finally:
            self.abort()

    async def _handle_client(self) -> None:
        if (reply := await self.reply("CONNECT", None)) is None:
            await super()._handle_client()
        else:
            await self.push(reply)
            self._writer.close()

    async def _act(self, command: str, method: Callable[[str], Awaitable[None]], argument: str) -> None:
        if (reply := await self.reply(command, argument)) is None:
            await method(argument)
        else:
            await self.push(reply)

    def _check_login(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: Any
    ) -> AuthResult:
        right = self._sink.users.get(login.login.decode()) == login.password.decode()
        return AuthResult(success=right, handled=False, auth_data=login)


class _Hooks:
    """What aiosmtpd asks of its handler."""

    def __init__(self, sink: SmtpSink) -> None:
        self._sink = sink

    async def handle_EHLO(  # noqa: N802
        self, server: _Connection, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [line for line in responses if self._sink.users or not line.startswith("250-AUTH")]

    async def handle_MAIL(  # noqa: N802
        self, server: _Connection, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._sink.users and not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: _Connection, session: Session, envelope: Envelope) -> str | bytes:  # noqa: N802
        if (reply := await server.reply("END-OF-DATA", None)) is not None:
            return reply
        received = _received(server, session, envelope)
        await self._sink.note(lambda: self._sink.messages.append(received))
        return "250 OK"


def _received(server: _Connection, session: Session, envelope: Envelope) -> Received:
    content = envelope.content
    assert isinstance(content, bytes)
    login: object = session.auth_data
    return Received(
        message=message_from_bytes(content, policy=policy.default),
        content=content,
        sender=envelope.mail_from or "",
        recipients=tuple(envelope.rcpt_tos),
        tls=server.encrypted,
        username=login.login.decode() if isinstance(login, LoginPassword) else None,
    )
