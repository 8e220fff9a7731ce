"""The real daemon, as a process of its own: `notifyd run`, with its log in a file."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

from notifyd.demo.inbox import PATIENCE, Missing

_GRACE = 10.0  # seconds between asking the daemon to stop and killing it

# What belongs to a daemon that runs on this machine already, or to the unit that started the demonstration
_NOT_OURS = ("NOTIFYD_CONFIG", "STATE_DIRECTORY", "NOTIFY_SOCKET", "JOURNAL_STREAM")


class Child:
    """A daemon that runs."""

    def __init__(self, process: asyncio.subprocess.Process, health_port: int) -> None:
        self.process, self._health_port = process, health_port

    async def ready(self) -> None:
        """Wait until /readyz says yes. Raises Missing if it takes too long, or the daemon ends."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.during(self._until_ready())
        except TimeoutError:
            raise Missing(f"the daemon was not ready within {PATIENCE:g} s") from None

    async def during(self, deeds: Coroutine[Any, Any, None]) -> None:
        """Do something while the daemon runs. Raises Missing as soon as the daemon ends by itself."""
        doing, ending = asyncio.create_task(deeds), asyncio.create_task(self.process.wait())
        try:
            await asyncio.wait({doing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise Missing(f"the daemon ended by itself, with exit status {ending.result()}")
            await doing
        finally:
            for task in (doing, ending):
                task.cancel()
            await asyncio.gather(doing, ending, return_exceptions=True)

    async def _until_ready(self) -> None:
        while not await asyncio.to_thread(self._is_ready):  # noqa: ASYNC110 (another process decides it)
            await asyncio.sleep(0.05)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._health_port, timeout=2)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            except OSError:
                return False

    async def stop(self) -> int:
        """Ask it to stop, and see that it does. Its exit status."""
        if self.process.returncode is None:
            self.process.terminate()
            try:
                async with asyncio.timeout(_GRACE):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
        return await self.process.wait()


@contextlib.asynccontextmanager
async def running(settings: Path, log: Path, health_port: int) -> AsyncIterator[Child]:
    """A daemon on these settings, for as long as the context is open.

    It has a session of its own: a Ctrl-C in the terminal reaches the demonstration alone, which stops it in order.
    """
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "notifyd", "run", "--config", str(settings)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environ,
            start_new_session=True,
        )
    child = Child(process, health_port)
    try:
        yield child
    finally:
        await child.stop()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
