"""The conversations that are open with one mail server: few, and each used again while messages come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from aiosmtplib import SMTPResponse

from notifyd.api import Context
from notifyd_plugins.email.message import Letter
from notifyd_plugins.email.session import Session, Stale

AT_ONCE = 2
"""Conversations at the same time: large providers allow three, for everyone who logs in by that name."""

IDLE_SECONDS = 15.0
"""How long one is kept open for the next message. Servers give up after minutes."""

MESSAGES_EACH = 100
"""Some servers take no more in one conversation."""


class Connections:
    """Hands letters over, up to two at a time; the others wait for their turn, in order."""

    def __init__(self, begin: Callable[[Context], Awaitable[Session]], idle_seconds: float = IDLE_SECONDS) -> None:
        self._begin, self._idle_seconds = begin, idle_seconds
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._idle: dict[Session, asyncio.TimerHandle] = {}
        self._goodbyes: set[asyncio.Task[None]] = set()
        self._closed = False

    async def hand_over(self, letter: Letter, ctx: Context) -> Mapping[str, SMTPResponse]:
        """The recipients that were refused. One that the server left in the meantime is replaced, once."""
        async with self._turns:
            if session := self._take_idle():
                with suppress(Stale):
                    return await self._use(session, letter)
            return await self._use(await self._begin(ctx), letter)

    async def close(self) -> None:
        """Take leave of the server."""
        self._closed = True
        while session := self._take_idle():
            self._part(session)
        if self._goodbyes:
            await asyncio.wait(self._goodbyes)

    async def _use(self, session: Session, letter: Letter) -> Mapping[str, SMTPResponse]:
        try:
            refused = await session.hand_over(letter)
        except BaseException:
            session.hang_up()
            raise
        if self._closed or session.messages >= MESSAGES_EACH:
            self._part(session)
        else:
            self._keep(session)
        return refused

    def _take_idle(self) -> Session | None:
        """The one that was used last, if there is one; whether it still lives, its next message shows."""
        if not self._idle:
            return None
        session, timer = self._idle.popitem()
        timer.cancel()
        return session

    def _keep(self, session: Session) -> None:
        self._idle[session] = asyncio.get_running_loop().call_later(self._idle_seconds, self._expire, session)

    def _expire(self, session: Session) -> None:
        del self._idle[session]
        self._part(session)

    def _part(self, session: Session) -> None:
        goodbye = asyncio.create_task(session.say_goodbye())
        self._goodbyes.add(goodbye)
        goodbye.add_done_callback(self._goodbyes.discard)
