"""One request, one answer, within a time and a size."""

from __future__ import annotations

import asyncio
import functools
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from notifyd import __version__
from notifyd.api import Answer, HttpOptions, Reject, Retry
from notifyd.outbound.dialer import Dialer
from notifyd.outbound.endpoint import Endpoints
from notifyd.outbound.excerpt import excerpt
from notifyd.outbound.faults import explain, explain_proxied
from notifyd.outbound.over_httpcore import Httpcore
from notifyd.outbound.target import Target
from notifyd.outbound.tls import context_for
from notifyd.outbound.wire import Broken, Connect, Reply, Request, Unwritable

_REMEMBERED_URLS = 64
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})
_SHOWABLE = frozenset(
    {b"accept", b"accept-encoding", b"content-length", b"content-type", b"host", b"idempotency-key", b"user-agent",
     b"webhook-id"}
)  # fmt: skip
_WITH_A_BODY = ("POST", "PUT", "PATCH")
_UNWRITABLE = "the request cannot be written as HTTP"


class HttpClient:
    """The `Http` of one config's channel: its connections, its timeout, its way out.

    httpx.AsyncClient would keep cookies from one delivery to the next, log every URL at INFO, and slow
    down with each connection; so connections are used one by one. `fast` lets httptools speak for them.
    """

    def __init__(
        self,
        *,
        timeout: float,
        dialer: Dialer | None = None,
        options: HttpOptions | None = None,
        user_agent: str = f"notifyd/{__version__}",
        fast: bool = False,
    ) -> None:
        self._timeout = timeout
        self._dialer = dialer or Dialer()
        self._options = options or HttpOptions()
        self._headers = {"user-agent": user_agent, "accept": "*/*", "accept-encoding": "identity"}
        self._fast = fast
        self._way: _Way | None = None
        self._target = functools.lru_cache(maxsize=_REMEMBERED_URLS)(Target.parse)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float | None = None,
    ) -> Answer:
        """Send and wait for the whole answer; `timeout` is the total in seconds.

        Raises Retry when no answer came, and Reject when the request can never be made. An answer of
        which only the rest of its body is late or broken is one, and says so in its note.
        """
        target = self._target(url)
        way = self._open()
        limit = self._timeout if timeout is None else timeout
        request, reply, note = self._request(method, target, headers or {}, body), Reply(), ""
        try:
            async with asyncio.timeout(limit):
                await way.endpoints.exchange(request, reply)
        except TimeoutError:
            if not reply.status:
                raise Retry(f"{target.label}: timed out after {limit:g} s") from None
            note = f"{target.label}: the rest of its answer had not come after {limit:g} s"
        except Unwritable:
            raise Reject(f"{target.label}: {_UNWRITABLE}") from None
        except (Broken, OSError) as error:
            if not reply.status:
                raise Retry(way.explain(error, target)) from None
            note = f"{way.explain(error, target)}; the status that it sent counts"
        return Answer(reply.status, reply.headers, self._excerpt(reply, request, way), note)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._way:
            await self._way.endpoints.aclose()

    def _open(self) -> _Way:
        """Made at the first request, so that a certificate's file that has gone costs attempts and not the daemon."""
        if self._way is None:
            self._way = _Way.of(self._options, self._dialer, self._fast)
        return self._way

    def _request(self, method: str, target: Target, headers: Mapping[str, str], body: bytes) -> Request:
        merged = {"host": target.authority, **self._headers}
        if target.authorization:
            merged["authorization"] = target.authorization
        for name, value in headers.items():
            _check_header(name, value)
            merged[name.lower()] = value
        if not _TOKEN.fullmatch(method) or method == "CONNECT":
            raise Reject(f"{target.label}: {_UNWRITABLE}")
        if body or method in _WITH_A_BODY:
            merged["content-length"] = str(len(body))
        try:
            lines = [(name.encode(), value.encode()) for name, value in merged.items()]
        except UnicodeError:
            raise Reject(f"{target.label}: {_UNWRITABLE}") from None
        return Request(method, target, lines, body)

    def _excerpt(self, reply: Reply, request: Request, way: _Way) -> str:
        if not reply.body:
            return ""
        secrets = request.target.secrets | way.secrets | _secrets(request.headers)
        return excerpt(reply.headers, bytes(reply.body), secrets)


@dataclass(frozen=True, slots=True)
class _Way:
    """How one config's requests leave: what the options come to."""

    endpoints: Endpoints
    proxy: Target | None

    @classmethod
    def of(cls, options: HttpOptions, dialer: Dialer, fast: bool) -> Self:
        """Raises Retry where a file cannot be used, and Reject where the guard cannot look through a proxy."""
        proxy = Target.parse(options.proxy.reveal()) if options.proxy else None
        if proxy and dialer.guard:
            raise Reject("a config made through the API cannot use a proxy: where that leads is not seen from here")
        try:
            tls = context_for(options)
        except ValueError as error:
            raise Retry(str(error)) from None
        return cls(Endpoints(_connect(dialer, tls, proxy, fast)), proxy)

    @property
    def secrets(self) -> frozenset[str]:
        """What an answer of the proxy's may not repeat."""
        return self.proxy.secrets if self.proxy else frozenset()

    def explain(self, error: Exception, target: Target) -> str:
        """One line about a request that got no answer."""
        return explain_proxied(error, target, self.proxy) if self.proxy else explain(error, target.host, target.port)


def _connect(dialer: Dialer, tls: ssl.SSLContext, proxy: Target | None, fast: bool) -> Connect:
    """Who speaks for the connections. To proxies only httpcore does."""
    if proxy or not fast:
        return Httpcore(dialer, tls, proxy)
    from notifyd.outbound.over_httptools import Httptools

    return Httptools(dialer, tls)


def _check_header(name: str, value: str) -> None:
    """A value may be secret, so only the name is said."""
    if not _TOKEN.fullmatch(name):
        raise Reject(f"{name!r} is not a header name")
    if name.lower() in _FRAMING:
        raise Reject(f"the header {name} is set by notifyd itself")
    if _FORBIDDEN_IN_VALUES.search(value):
        raise Reject(f"the value of the header {name} holds a line break or another control character")
    if value != value.strip():
        raise Reject(f"the value of the header {name} begins or ends with a space")


def _secrets(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[str]:
    """The values that an answer may not repeat to people, "Bearer X" also as X."""
    values = {value.decode() for name, value in headers if name not in _SHOWABLE}
    return frozenset(values | {value.partition(" ")[2] for value in values})
