"""One request, one answer, within a time and a size."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from weakref import WeakValueDictionary

import httpx

from notifyd import __version__
from notifyd.api import Answer, HttpOptions, Reject, Retry
from notifyd.outbound.dialer import Dialer
from notifyd.outbound.excerpt import excerpt
from notifyd.outbound.faults import explain, explain_proxied
from notifyd.outbound.handshake import HandshakeWatch
from notifyd.outbound.target import Target
from notifyd.outbound.tls import context_for
from notifyd.outbound.transport import CONNECTIONS, Transport

LARGEST_BODY = 64 * 1024
"""Bytes of an answer that are read before its connection is dropped."""

_REMEMBERED_URLS = 64
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FORBIDDEN_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})
_SHOWABLE = frozenset({"content-type", "accept", "user-agent", "idempotency-key", "webhook-id"})


class HttpClient:
    """The `Http` of one config's channel: its connections, its timeout, its way out.

    It drives httpx's transport rather than httpx.AsyncClient, which would keep cookies from one
    delivery to the next, log every URL at INFO, and take a quarter of the throughput.
    """

    def __init__(
        self,
        *,
        timeout: float,
        dialer: Dialer | None = None,
        options: HttpOptions | None = None,
        user_agent: str = f"notifyd/{__version__}",
    ) -> None:
        self._timeout = timeout
        self._dialer = dialer or Dialer()
        self._options = options or HttpOptions()
        self._headers = {"user-agent": user_agent, "accept": "*/*", "accept-encoding": "identity"}
        self._way: _Way | None = None
        self._slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
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

        Raises Retry when no whole answer came, and Reject when the request can never be made.
        """
        target = self._target(url)
        way = self._open()
        limit = self._timeout if timeout is None else timeout
        slots = self._slots.setdefault(target.label, asyncio.Semaphore(CONNECTIONS))
        try:
            request = self._request(method, target, headers or {}, body)
            async with asyncio.timeout(limit), slots:
                return await _exchange(way.transport, request, target.secrets | way.secrets | _secrets(headers or {}))
        except TimeoutError:
            raise Retry(f"{target.label}: timed out after {limit:g} s") from None
        except (httpx.LocalProtocolError, UnicodeError):
            raise Reject(f"{target.label}: the request cannot be written as HTTP") from None
        except (httpx.TransportError, OSError) as error:
            raise Retry(way.explain(error, target)) from None

    async def aclose(self) -> None:
        """Close every connection."""
        if self._way:
            await self._way.transport.aclose()

    def _open(self) -> _Way:
        """Made at the first request, so that a certificate's file that has gone costs attempts and not the daemon."""
        if self._way is None:
            self._way = _Way.of(self._options, self._dialer)
        return self._way

    def _request(self, method: str, target: Target, headers: Mapping[str, str], body: bytes) -> httpx.Request:
        merged = dict(self._headers)
        if target.authorization:
            merged["authorization"] = target.authorization
        for name, value in headers.items():
            _check_header(name, value)
            merged[name.lower()] = value
        encoded = [(name.encode(), value.encode()) for name, value in merged.items()]
        extensions = {"trace": HandshakeWatch()} if target.url.scheme == "https" else {}
        return httpx.Request(method, target.url, headers=encoded, content=body, extensions=extensions)


@dataclass(frozen=True, slots=True)
class _Way:
    """How one config's requests leave: what the options come to."""

    transport: Transport
    proxy: Target | None

    @classmethod
    def of(cls, options: HttpOptions, dialer: Dialer) -> Self:
        """Raises Retry where a file cannot be used, and Reject where the guard cannot look through a proxy."""
        proxy = Target.parse(options.proxy.reveal()) if options.proxy else None
        if proxy and dialer.guard:
            raise Reject("a config made through the API cannot use a proxy: where that leads is not seen from here")
        try:
            return cls(Transport(dialer, context_for(options), proxy), proxy)
        except ValueError as error:
            raise Retry(str(error)) from None

    @property
    def secrets(self) -> frozenset[str]:
        """What an answer of the proxy's may not repeat."""
        return self.proxy.secrets if self.proxy else frozenset()

    def explain(self, error: Exception, target: Target) -> str:
        """One line about a request that got no answer."""
        return explain_proxied(error, target, self.proxy) if self.proxy else explain(error, target.host, target.port)


async def _exchange(transport: Transport, request: httpx.Request, secrets: frozenset[str]) -> Answer:
    response = await transport.handle_async_request(request)
    try:
        body = await _start_of_body(response)
    finally:
        await response.aclose()
    lines = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, lines, excerpt(response, body, secrets))


async def _start_of_body(response: httpx.Response) -> bytes:
    """The body as sent, at most LARGEST_BODY bytes of it."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= LARGEST_BODY:
            break
    return bytes(body[:LARGEST_BODY])


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


def _secrets(headers: Mapping[str, str]) -> frozenset[str]:
    """The values that an answer may not repeat to people, "Bearer X" also as X."""
    values = {value for name, value in headers.items() if name.lower() not in _SHOWABLE}
    return frozenset(values | {value.partition(" ")[2] for value in values})
