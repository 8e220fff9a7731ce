"""Where the notifications arrive: a real HTTP server and a real SMTP server on loopback, with one inbox."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from email import message_from_bytes, policy
from typing import NamedTuple

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from notifyd.demo.inbox import Arrival, Inbox
from notifyd.demo.settings_file import MAIL, SLACK, WEBHOOK

_LOOPBACK = "127.0.0.1"
_IN_FOOTER = re.compile(r"dlv_\w+")


class Sinks(NamedTuple):
    """The two servers, listening. `refusals`: how many of the next requests each config's endpoint answers with 503."""

    inbox: Inbox
    refusals: dict[str, int]
    http_port: int
    smtp_port: int


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Sinks]:
    """Both servers, for as long as the context is open."""
    inbox, refusals = Inbox(), dict[str, int]()
    async with _http(_application(inbox, refusals)) as http_port, _smtp(inbox) as smtp_port:
        yield Sinks(inbox, refusals, http_port, smtp_port)


# -- HTTP --------------------------------------------------------------------------------------------


def _application(inbox: Inbox, refusals: dict[str, int]) -> Starlette:
    async def answer(arrival: Arrival) -> Response:
        await inbox.put(arrival)
        return Response(status_code=arrival.status)

    async def webhook(request: Request) -> Response:
        at, body = time.monotonic(), await request.json()
        delivery = request.headers["idempotency-key"]
        return await answer(Arrival(WEBHOOK, body["title"], delivery, at, _status(refusals, WEBHOOK), body))

    async def slack(request: Request) -> Response:
        at, attachment = time.monotonic(), (await request.json())["attachments"][0]
        [delivery] = _IN_FOOTER.findall(attachment["footer"])
        return await answer(Arrival(SLACK, attachment["title"], delivery, at, _status(refusals, SLACK)))

    return Starlette(routes=[Route("/webhook", webhook, methods=["POST"]), Route("/slack", slack, methods=["POST"])])


def _status(refusals: dict[str, int], config: str) -> int:
    if refusals.get(config, 0) == 0:
        return 200
    refusals[config] -= 1
    return 503


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The signals are the demonstration's."""
        yield


@contextlib.asynccontextmanager
async def _http(application: Starlette) -> AsyncIterator[int]:
    server = _Server(uvicorn.Config(application, log_config=None, access_log=False, lifespan="off"))
    with socket.create_server((_LOOPBACK, 0)) as bound:
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            yield bound.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


# -- SMTP --------------------------------------------------------------------------------------------


class _Mailbox:
    """What aiosmtpd asks of whom it hands a message to."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take in a message."""
        at, message = time.monotonic(), message_from_bytes(envelope.original_content or b"", policy=policy.default)
        delivery = str(message["Message-ID"]).strip("<>").partition("@")[0]
        await self._inbox.put(Arrival(MAIL, str(message["Subject"]), delivery, at))
        return "250 OK"


@contextlib.asynccontextmanager
async def _smtp(inbox: Inbox) -> AsyncIterator[int]:
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(_Mailbox(inbox), hostname="shop.example"), _LOOPBACK, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
