"""A connection for which httpcore speaks, directly or through a proxy. httpcore is what httpx is made of."""

from __future__ import annotations

import ssl
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import httpcore
from httpcore import AsyncNetworkStream

from notifyd.outbound.dialer import Dialer
from notifyd.outbound.target import Target
from notifyd.outbound.wire import (
    NO_ANSWER,
    NOT_HTTP,
    NOT_WHOLE,
    Broken,
    Connection,
    ProxyRefused,
    Reply,
    Request,
    Unreached,
    Unwritable,
)


class Httpcore:
    """Makes the connections of one config.

    httpcore makes a connection by way of a pool, which knows the proxy; its pooling is not used.
    """

    def __init__(self, dialer: Dialer, tls: ssl.SSLContext, proxy: Target | None = None) -> None:
        backend = _Backend(dialer)
        self._pool = (
            _through(proxy, tls, backend) if proxy else httpcore.AsyncConnectionPool(tls, network_backend=backend)
        )

    def __call__(self, target: Target) -> Connection:
        """A connection to this target, not yet made."""
        return _Connection(self._pool.create_connection(_url(target).origin))


def _through(proxy: Target, tls: ssl.SSLContext, backend: httpcore.AsyncNetworkBackend) -> httpcore.AsyncHTTPProxy:
    return httpcore.AsyncHTTPProxy(
        httpcore.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target=b"/"),
        proxy_headers={"proxy-authorization": proxy.authorization} if proxy.authorization else None,
        ssl_context=tls,
        proxy_ssl_context=tls if proxy.scheme == "https" else None,
        network_backend=backend,
    )


def _url(target: Target) -> httpcore.URL:
    port = None if target.has_default_port else target.port  # so that it is not written out
    return httpcore.URL(scheme=target.scheme.encode(), host=target.host.encode(), port=port, target=target.path)


class _Connection:
    def __init__(self, inner: httpcore.AsyncConnectionInterface) -> None:
        self._inner = inner

    @property
    def idle(self) -> bool:
        return self._inner.is_idle() and not self._inner.is_closed() and not self._inner.has_expired()

    async def exchange(self, request: Request, reply: Reply) -> None:
        with _in_our_words():
            answer = await self._inner.handle_async_request(_request(request))
            async with aclosing(answer):
                reply.take_headers(answer.headers)
                reply.status = answer.status
                async for chunk in answer.aiter_stream():
                    if reply.take_body(chunk):
                        break

    async def aclose(self) -> None:
        with _in_our_words():
            await self._inner.aclose()


def _request(request: Request) -> httpcore.Request:
    extensions = {"trace": _HandshakeWatch()} if request.target.scheme == "https" else {}
    return httpcore.Request(
        request.method,
        _url(request.target),
        headers=request.headers,
        content=request.body,
        extensions=extensions,
    )


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Of what httpcore raises, only the causes go on: they say more, and nothing of the request."""
    try:
        yield
    except httpcore.LocalProtocolError:
        raise Unwritable from None
    except httpcore.ProxyError as error:
        raise ProxyRefused(str(error)) from None
    except httpcore.RemoteProtocolError as error:
        raise Broken(_protocol(str(error))) from None
    except httpcore.ConnectError as error:
        raise Unreached from error
    except httpcore.NetworkError as error:
        raise Broken from error


def _protocol(text: str) -> str:
    if "disconnected" in text:
        return NO_ANSWER
    return NOT_WHOLE if "closed" in text else NOT_HTTP


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

        return _Gathering(await self._dialer.dial(host, connect, _close))


class _Gathering(AsyncNetworkStream):
    """Writes what was written once something is read: a request's head and its body are one packet then, not three."""

    def __init__(self, inner: AsyncNetworkStream) -> None:
        self._inner = inner
        self._unwritten = b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._unwritten += buffer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._unwritten:
            buffer, self._unwritten = self._unwritten, b""
            with suppress(httpcore.WriteError):  # as httpcore itself: there may be an answer that says why
                await self._inner.write(buffer, timeout)
        return await self._inner.read(max_bytes, timeout)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncNetworkStream:
        return _Gathering(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _close(stream: AsyncNetworkStream) -> None:
    await stream.aclose()


class _HandshakeWatch:
    """The `trace` extension of one https request.

    httpcore closes the connection of a handshake that fails, but not of one that is cancelled, which
    is what a timeout does: without this an endpoint that accepts and then keeps silent would hold a
    socket for each attempt until some garbage collection.
    """

    def __init__(self) -> None:
        self._connection: Any = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._connection = info["return_value"]
        elif event == "connection.start_tls.failed":
            await self._connection.aclose()
