"""One conversation with a mail server, for one message after the other."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponse

from notifyd.api import CheckContext, Reject, Secret
from notifyd_plugins.email.addresses import DOMAIN
from notifyd_plugins.email.message import Letter
from notifyd_plugins.email.options import EmailOptions

_UNAVAILABLE = 421
_GOODBYE_PATIENCE = 1.0


class Stale(Exception):
    """The server ended a conversation that it had kept open, before it heard anything of the new message."""


class Session:
    """A client that is connected, encrypted and logged in as the options say."""

    def __init__(self, client: _Client, server: str) -> None:
        self._client, self._server = client, server
        self.messages = 0

    @classmethod
    async def begin(cls, options: EmailOptions, tls: ssl.SSLContext | None, ctx: CheckContext) -> Session:
        """Connect and log in. What goes wrong is the library's error, or Reject where no waiting mends it."""
        client = _Client(
            hostname=options.smtp_host,
            local_hostname=_own_name(),
            use_tls=options.tls == "implicit",
            start_tls=False,  # done by hand, to tell apart what can go wrong
            tls_context=tls,
            timeout=None,  # one for all steps together
            sock=await ctx.connect(options.smtp_host, options.port),
        )
        session = cls(client, options.server)
        try:
            await session._greet(options)
        except BaseException:
            session.hang_up()
            raise
        return session

    async def hand_over(self, letter: Letter) -> Mapping[str, SMTPResponse]:
        """The recipients that were refused, with what the server said; it raises where all of them were.

        Raises Stale only before the server has heard of the message: so it is safe to begin again.
        """
        await self._name_sender(letter)
        refused = await self._name_recipients(letter)
        await self._client.data(letter.content)
        self.messages += 1
        return refused

    def hang_up(self) -> None:
        """End it without a word: the conversation is in a state that nobody knows."""
        self._client.close()

    async def say_goodbye(self) -> None:
        """QUIT, for the server's log."""
        with suppress(SMTPException, OSError):
            await self._client.quit(timeout=_GOODBYE_PATIENCE)
        self.hang_up()

    # How it begins

    async def _greet(self, options: EmailOptions) -> None:
        await self._client.connect()
        await self._say_hello()
        if options.tls == "starttls":
            await self._encrypt()
            await self._say_hello()
        if options.smtp_username and options.smtp_password:
            await self._log_in(options.smtp_username, options.smtp_password)

    async def _say_hello(self) -> None:
        try:
            await self._client.ehlo()
        except aiosmtplib.SMTPHeloError:
            if not self._client.is_connected:
                raise
            await self._client.helo()  # a server from before 1995

    async def _encrypt(self) -> None:
        if not self._client.supports_extension("starttls"):
            hint = 'try tls = "implicit" (port 465); tls = "none" sends unencrypted'
            raise Reject(f"{self._server} does not offer STARTTLS; {hint}")
        await self._client.starttls()

    async def _log_in(self, username: str, password: Secret) -> None:
        if not self._client.supported_auth_methods:
            offered = ", ".join(self._client.server_auth_methods) or "none"
            raise Reject(f"{self._server} offers no login that is known here (it offers: {offered})")
        await self._client.login(username, password.reveal())

    # What is said of one message

    async def _name_sender(self, letter: Letter) -> None:
        options = [f"SIZE={len(letter.content)}"] if self._client.supports_extension("size") else []
        if letter.international:
            self._check_international(letter.international)
            options.append("SMTPUTF8")
        try:
            await self._client.mail(letter.sender, options=options, encoding="utf-8")
        except aiosmtplib.SMTPServerDisconnected as error:
            raise (Stale if self.messages else error) from error
        except aiosmtplib.SMTPSenderRefused as error:
            raise (Stale if self.messages and error.code == _UNAVAILABLE else error) from error

    def _check_international(self, address: str) -> None:
        if not self._client.supports_extension("smtputf8"):
            raise Reject(f"{self._server} does not offer SMTPUTF8, without which {address} cannot be written to it")

    async def _name_recipients(self, letter: Letter) -> Mapping[str, SMTPResponse]:
        refusals: list[aiosmtplib.SMTPRecipientRefused] = []
        for address in letter.recipients:
            try:
                await self._client.rcpt(address, encoding="utf-8")
            except aiosmtplib.SMTPRecipientRefused as refusal:
                refusals.append(refusal)
        if len(refusals) == len(letter.recipients):
            raise aiosmtplib.SMTPRecipientsRefused(refusals)
        return {refusal.recipient: SMTPResponse(refusal.code, refusal.message) for refusal in refusals}


class _Client(aiosmtplib.SMTP):
    """A client that hangs up at once, where the library's waits for TLS to be taken down in turn."""

    def close(self) -> None:
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()
        super().close()


def _own_name() -> str:
    """What to call ourselves in EHLO; an address literal, as RFC 5321 wants it, where this machine has no full name.

    Not socket.getfqdn(), which asks the DNS and may hang there.
    """
    name = socket.gethostname()
    return name if "." in name and DOMAIN.fullmatch(name) else "[127.0.0.1]"
