"""httpx's transport, with connections that a Dialer makes."""

from __future__ import annotations

import ssl
from collections.abc import Coroutine, Iterable
from typing import Any

import httpcore
import httpx
from httpcore import AsyncNetworkStream

from notifyd.outbound.dialer import Dialer
from notifyd.outbound.target import Target

CONNECTIONS = 8
"""The most connections to one endpoint; httpx slows down quadratically in large pools."""

_KEPT_SECONDS = 15  # how long an idle connection is kept


class Transport(httpx.AsyncHTTPTransport):
    """One config's connections, directly or through a proxy.

    httpx has no argument for who connects, so the pool beneath it is made here, and only here: should
    an httpx keep its pool elsewhere some day, requests fail, and none gets around the guard.
    """

    def __init__(self, dialer: Dialer, tls: ssl.SSLContext, proxy: Target | None = None) -> None:
        arguments: dict[str, Any] = {
            "ssl_context": tls,
            "network_backend": _Backend(dialer),
            "max_connections": None,  # the client's slots bound them: httpcore's count can leak at a cancellation
            "max_keepalive_connections": CONNECTIONS,
            "keepalive_expiry": _KEPT_SECONDS,
        }
        self._pool = _through(proxy, tls, arguments) if proxy else httpcore.AsyncConnectionPool(**arguments)


def _through(proxy: Target, tls: ssl.SSLContext, arguments: dict[str, Any]) -> httpcore.AsyncHTTPProxy:
    return httpcore.AsyncHTTPProxy(
        httpcore.URL(scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.port, target=b"/"),
        proxy_headers={"proxy-authorization": proxy.authorization} if proxy.authorization else None,
        proxy_ssl_context=tls if proxy.url.scheme == "https" else None,
        **arguments,
    )


class _Backend(httpcore.AnyIOBackend):
    """Connects to one of the addresses that the dialer gives; TLS and headers go on to use the name."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """As httpcore's own, but for the way from host to address."""
        to_address = super().connect_tcp

        def connect(address: str) -> Coroutine[Any, Any, AsyncNetworkStream]:
            return to_address(address, port, timeout, local_address, socket_options)

        return await self._dialer.dial(host, connect, _close)


async def _close(stream: AsyncNetworkStream) -> None:
    await stream.aclose()
