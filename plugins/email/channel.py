"""The channel: one notification in, one message out."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from notifyd.api import Channel, CheckContext, Context, Notification, Retry
from notifyd_plugins.email.options import EmailOptions

if TYPE_CHECKING:
    from notifyd_plugins.email.session import Session


class EmailChannel(Channel[EmailOptions]):
    """E-mail over SMTP, to one or several recipients in one message.

    The server's answer decides: 4xx is tried again, 5xx is final. Also final are a server without
    STARTTLS, one without a login, and one that cannot write an address, for no waiting mends them. A
    connection that cannot be made, breaks or takes too long is tried again, and so is a certificate that
    is not trusted.

    A refused login (535) is tried again, although it is a 5xx: it is about the password and not
    about the message. Passwords are rotated, and each attempt uses the options as they are by then, so
    a waiting message leaves once the password is mended; a rejected one would stay dead until somebody
    missed it. It is tried no sooner than after five minutes, because servers lock accounts.

    When some of the recipients are refused, the message counts as sent, and history and log name them. That
    holds for those refused for now (4xx) too: trying again would repeat it to all the others, and one
    full mailbox would hold up everyone's news for a day.
    """

    name = "email"
    Options = EmailOptions

    def __init__(self, options: EmailOptions) -> None:
        super().__init__(options)
        # Not above: SMTP and MIME weigh a megabyte, and a daemon whose configs send no e-mail does without.
        from notifyd_plugins.email.answers import Answers
        from notifyd_plugins.email.connections import Connections
        from notifyd_plugins.email.message import Stationery

        self._stationery = Stationery.of(options)
        self._answers = Answers(options)
        self._connections = Connections(self._begin)
        self._tls: ssl.SSLContext | None = None

    async def open(self) -> None:
        """Load the certificates to trust; off the event loop, and not again for each message."""
        if self.options.tls == "none":
            return
        try:
            self._tls = await asyncio.to_thread(self.options.trust)
        except OSError as error:
            raise Retry(f"ca_file: {self.options.ca_file} cannot be used: {error.strerror or error}") from None

    async def close(self) -> None:
        """Let the connections go."""
        await self._connections.close()

    async def send(self, notification: Notification, ctx: Context) -> str:
        """Hand the message to the server; a note says which recipients it refused."""
        letter = self._stationery.letter(notification, ctx)
        async with self._judged(ctx.timeout):
            refused = await self._connections.hand_over(letter, ctx)
        for address, answer in refused.items():
            ctx.log.warning("recipient refused", recipient=address, answer=self._answers.quote(*answer))
        return self._answers.note(refused, len(letter.recipients))

    async def _begin(self, ctx: CheckContext) -> Session:
        if self._tls is None:
            await self.open()  # the certificates could not be read earlier
        from notifyd_plugins.email.session import Session

        return await Session.begin(self.options, self._tls, ctx)

    async def check(self, ctx: CheckContext) -> str:
        """Connect, encrypt and log in as for a message, and leave again."""
        async with self._judged(ctx.timeout, "let us in"):
            session = await self._begin(ctx)
            await session.say_goodbye()
        login = (
            f"the login {self.options.smtp_username} works" if self.options.smtp_username else "no login is asked for"
        )
        return f"{self.options.server} answers ({self.options.tls}), and {login}"

    @asynccontextmanager
    async def _judged(self, timeout: float, deed: str = "take the message") -> AsyncIterator[None]:
        """Turn what goes wrong inside into Retry or Reject.

        The time is up a little before `timeout`, when the daemon would cancel the attempt: so the
        history says which server was slow.
        """
        try:
            async with asyncio.timeout(timeout * 0.9):
                yield
        except TimeoutError:
            server = self.options.server
            raise Retry(f"timed out: {server} did not {deed} within {timeout:g} s") from None
        except self._answers.errors as error:
            raise self._answers.verdict(error) from None
