"""uvicorn on the daemon's own loop: on an address or a Unix socket, with TLS or without."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import structlog
import uvicorn
from fastapi import FastAPI

from notifyd.errors import NotifydError
from notifyd.right_of_way import RightOfWay
from notifyd.settings import HttpSettings
from notifyd.web.protocol import Protocol

MOST_CONNECTIONS = 256
"""At once; beyond it, the answer is 503."""

LOCAL = ("127.0.0.1", "::1", "localhost")

log = structlog.get_logger("notifyd.web")


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The signals are the daemon's."""
        yield


class HttpServer:
    """Serves an application, as the settings say, until it is stopped."""

    def __init__(self, app: FastAPI, settings: HttpSettings, way: RightOfWay) -> None:
        self.app, self.settings, self.way = app, settings, way
        self.port = 0  # where the settings leave it to the system
        self._server: _Server
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind, then serve. Raises NotifydError where the address cannot be had."""
        tls = self._tls()
        bound = self._bind()
        self.port = bound.getsockname()[1] if self.settings.address else 0
        self._server = _Server(_config(self.app, tls, self.way))
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]), name="http")

    async def stop(self) -> None:
        """Finish the requests at hand and stop."""
        if self._task:
            self._server.should_exit = True
            await self._task
        if self.settings.socket:
            self.settings.socket.unlink(missing_ok=True)

    def _bind(self) -> socket.socket:
        try:
            return _unix(self.settings.socket) if self.settings.socket else _tcp(*self.settings.address or ("", 0))
        except OSError as error:
            listen, why = self.settings.listen, error.strerror or error
            mend = "; another program, or another notifyd, listens there: end it, or name another port"
            text = f"http.listen: {listen} cannot be used: {why}{mend if error.errno == errno.EADDRINUSE else ''}"
            raise NotifydError(text) from None

    def _tls(self) -> ssl.SSLContext | None:
        try:
            context = self.settings.tls()
        except ValueError as error:
            raise NotifydError(f"http.tls_cert: {error}") from None
        if context is None and self.settings.address and self.settings.address[0] not in LOCAL:
            log.warning("tokens travel in clear: give [http] tls_cert, or listen on 127.0.0.1 behind a proxy with TLS")
        return context


def _config(app: FastAPI, tls: ssl.SSLContext | None, way: RightOfWay) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=partial(Protocol, way=way),  # type: ignore[arg-type]  # all that makes one will do
        ssl_context_factory=(lambda _config, _default: tls) if tls else None,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,  # anybody may send them
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=3,
    )


def _tcp(host: str, port: int) -> socket.socket:
    """Bound. It says that it speaks TCP, else asyncio leaves Nagle's algorithm on, at 40 ms an answer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
        bound.listen()
    except BaseException:
        bound.close()
        raise
    return bound


def _unix(path: Path) -> socket.socket:
    """Bound, for its owner and group alone; nobody gets through before that holds, as nobody listens yet."""
    _remove_stale(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(0o660)
        bound.listen()
    except BaseException:
        bound.close()
        raise
    return bound


def _remove_stale(path: Path) -> None:
    """A socket that a crash left behind is in the way; one that answers is somebody's."""
    if not path.is_socket():
        return
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as other:
        try:
            other.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
