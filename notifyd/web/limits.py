"""How much a client may send, and how long it may take: before anything looks at the request."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from notifyd.web.problems import Problem

LONGEST_ADDRESS = 8 * 1024
"""Bytes of the path and the query."""

LARGEST_HEAD = 32 * 1024
"""Bytes of all headers together."""

LARGEST_BODY = 256 * 1024
"""Bytes. A config with every option has a few thousand."""

SLOWEST_BODY = 10.0
"""Seconds that a body may take to arrive."""


_CLOSE = {"Connection": "close"}


class Limits:
    """ASGI middleware: reads the body whole, within its bounds, and hands on a request that is all there."""

    def __init__(self, app: ASGIApp, slowest: float = SLOWEST_BODY) -> None:
        self.app, self.slowest = app, slowest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            _check_head(scope)
            async with asyncio.timeout(self.slowest):
                body = await _whole(receive)
        except TimeoutError:
            problem = Problem(408, f"the request did not arrive within {self.slowest:g} s", _CLOSE)
            await problem.response()(scope, receive, send)
        except Problem as problem:
            await problem.response()(scope, receive, send)
        else:
            if body is not None:
                await self.app(scope, _replay(body, receive), send)


def _check_head(scope: Scope) -> None:
    if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_ADDRESS:
        raise Problem(414, f"the address is longer than {LONGEST_ADDRESS // 1024} KiB", _CLOSE)
    if sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEAD:
        raise Problem(431, f"the headers are longer than {LARGEST_HEAD // 1024} KiB", _CLOSE)


async def _whole(receive: Receive) -> bytes | None:
    """The body; None where the client has gone."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise Problem(413, f"the body is longer than {LARGEST_BODY // 1024} KiB", _CLOSE)
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """What the application receives: the body, and then whatever comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
