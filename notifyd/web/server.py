"""uvicorn on the daemon's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from notifyd.errors import NotifydError


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The signals are the daemon's."""
        yield


class HttpServer:
    """Serves an application on "host:port" until it is stopped."""

    def __init__(self, app: FastAPI, listen: str) -> None:
        self.listen = listen
        self._server = _Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=3)
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind, then serve. Raises NotifydError where the address cannot be had."""
        host, _, port = self.listen.rpartition(":")
        host = host.strip("[]")
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            bound = socket.create_server((host, int(port)), family=family)
        except OSError as error:
            raise NotifydError(f"http.listen: {self.listen} cannot be used: {error.strerror or error}") from None
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]), name="http")

    async def stop(self) -> None:
        """Finish the requests at hand and stop."""
        self._server.should_exit = True
        if self._task:
            await self._task
