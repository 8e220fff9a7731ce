"""Who asks, and whether they may: bearer tokens (RFC 6750), before anything else of the request counts.

Everything is closed but what `OPEN` lists, and links. Each refusal takes the same way, whatever is wrong with the
token.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

import structlog
from fastapi import Depends, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from notifyd.store import tokens
from notifyd.store.database import Database, StoreError
from notifyd.store.tokens import Permission, Token, TokenState
from notifyd.store.trail import Actor
from notifyd.web.link import is_link
from notifyd.web.problems import Problem
from notifyd.web.reach import Reach

OPEN = frozenset({"/healthz", "/readyz", "/api/docs", "/api/openapi.json"})
"""The addresses that everybody may ask, as they hold nothing of this daemon's; so do links. /metrics may be one."""

TRIES = 60
"""Wrong tokens of one address within REMEMBERED, beyond which it is told to come again later. A right one gets in."""

LOGGED = 10
"""Refusals of one address within REMEMBERED that are logged one by one."""

REMEMBERED = timedelta(minutes=1)

_MOST_ADDRESSES = 1024
_LONGEST = 512
_ENDED = {TokenState.REVOKED: "was revoked", TokenState.EXPIRED: "has expired"}
_HOW = "make one with: notifyd token create --name NAME --permission manage_settings"

log = structlog.get_logger("notifyd.web")


@dataclass(frozen=True, slots=True)
class Caller:
    """A token that was let in."""

    token: Token

    @property
    def actor(self) -> Actor:
        """As the audit trail names it."""
        return Actor(self.token.name, self.token.id)


class Refusal(NamedTuple):
    """Why a request is not let in; `guess` where its token is none that there ever was."""

    text: str
    guess: bool = False


class Authentication:
    """ASGI middleware: lets through who has a token, and puts the Caller into the request's state."""

    def __init__(self, app: ASGIApp, reach: Reach) -> None:
        self.app, self.reach = app, reach
        self._open = OPEN | {"/metrics"} if reach.settings.http.metrics == "open" else OPEN
        self._failures = Failures()
        self._used: dict[str, datetime] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._open and not is_link(scope["path"]):
            try:
                scope.setdefault("state", {})["caller"] = await self._caller(scope)
            except Problem as problem:
                await problem.response()(scope, receive, send)
                return
            except StoreError as error:
                await Problem(503, str(error), {"Retry-After": "5"}).response()(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        now = self.reach.clock()
        judged = await self.reach.read(_judge, bearer(scope), now)
        if isinstance(judged, Refusal):
            raise self._refused(scope, judged, now)
        await self._remember(judged, now)
        return Caller(judged)

    def _refused(self, scope: Scope, refusal: Refusal, now: datetime) -> Problem:
        address = scope["client"][0] if scope.get("client") else "the socket"
        count = self._failures.count((address, refusal.guess), now)
        if count <= LOGGED:
            log.warning("a request was refused", client=address, why=refusal.text, times=count)
        if count <= TRIES or not refusal.guess:
            return Problem(401, refusal.text, {"WWW-Authenticate": 'Bearer realm="notifyd"'})
        wait = int(REMEMBERED.total_seconds())
        return Problem(429, f"too many failed tries; come again in {wait} s", {"Retry-After": str(wait)})

    async def _remember(self, token: Token, now: datetime) -> None:
        """When it was used; once a minute is enough, and costs no request a write."""
        last = self._used.get(token.id)
        if last is None or now - last >= REMEMBERED or now < last:
            self._used[token.id] = now
            with suppress(StoreError):  # on a full disk one may still look
                await self.reach.write(tokens.used, token.id, now)


class Failures:
    """Refusals by address and kind, forgotten after a while."""

    def __init__(self) -> None:
        self._since: OrderedDict[tuple[str, bool], tuple[datetime, int]] = OrderedDict()

    def count(self, whose: tuple[str, bool], now: datetime) -> int:
        """Count one more; how many there are of these."""
        since, before = self._since.pop(whose, (now, 0))
        if not timedelta() <= now - since < REMEMBERED:
            since, before = now, 0
        self._since[whose] = since, before + 1
        if len(self._since) > _MOST_ADDRESSES:
            self._since.popitem(last=False)
        return before + 1


def bearer(scope: Scope) -> str:
    """The token of a request; empty where there is none, or more than one."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(found) != 1 or len(found[0]) > _LONGEST:
        return ""
    scheme, _, text = found[0].decode("latin-1").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def _judge(db: Database, text: str, now: datetime) -> Token | Refusal:
    """The token that a text is, or why it is not let in. Whoever holds a token may know what became of it."""
    token = tokens.known(db, text)
    if token is None:
        return Refusal(_unknown(given=bool(text), any_token=tokens.any_active(db, now)), guess=bool(text))
    state = token.state(now)
    if state is TokenState.ACTIVE:
        return token
    return Refusal(f'the token "{token.name}" {_ENDED[state]}; {_HOW}')


def _unknown(*, given: bool, any_token: bool) -> str:
    if not any_token:
        return f"there is no token yet that is let in; {_HOW}"
    return "this token is not known" if given else f"send a token, as Authorization: Bearer TOKEN; {_HOW}"


# -- permissions -------------------------------------------------------------------------------------


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


Asking = Annotated[Caller, Depends(_caller)]
"""The parameter by which an endpoint knows who asks."""


def permitted(*permissions: Permission) -> Callable[[Caller], Awaitable[None]]:
    """A dependency that lets only tokens through that have one of these permissions."""

    async def check(caller: Asking) -> None:
        if not {*permissions} & {*caller.token.permissions}:
            raise Problem(403, f'the token "{caller.token.name}" lacks the permission {" or ".join(permissions)}')

    return check
