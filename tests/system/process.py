"""`notifyd run` in a process of its own, as systemd would run it.

async with Process(site.file) as process:       # started, and ready
    process.send(signal.SIGHUP)
    await process.said("reloaded")
assert process.returncode == 0                  # it was told to stop, and did
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from notifyd.daemon import Patience
from tests.system.site import until

ROOT = Path(__file__).parents[2]


class Process:
    """See the module's docstring. `log` is where it writes, after what is there already."""

    def __init__(
        self,
        settings: Path,
        log: Path | None = None,
        watchdog: float = 0,
        patience: Patience | None = None,
        **environ: str,
    ) -> None:
        self.settings = settings
        self.patience = patience
        self.environ = environ | ({"WATCHDOG_USEC": f"{watchdog * 1e6:.0f}"} if watchdog else {})
        self.told: list[dict[str, str]] = []  # what systemd was told, message by message
        self.log = log or settings.with_suffix(".log")
        self.started_at = 0.0
        self.ready_after = 0.0  # seconds from its start
        self._process: asyncio.subprocess.Process
        self._systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._systemd.setblocking(False)
        self._systemd.bind("")  # Linux chooses a free abstract name

    async def start(self, output: int | None = None) -> Self:
        """Start it, and come back while it still wakes up. It writes to its log, or to the descriptor `output`."""
        name: bytes = self._systemd.getsockname()
        environ = os.environ | {"NOTIFY_SOCKET": "@" + name[1:].decode(), "PYTHONPATH": str(ROOT), **self.environ}
        self.started_at = time.monotonic()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, *self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output or log,
                stderr=output or log,
                env=environ,
            )
        return self

    @property
    def _command(self) -> tuple[str, ...]:
        if self.patience is None:
            return ("-m", "notifyd", "run", "--config", str(self.settings))
        imports = "from pathlib import Path; from notifyd.cli.run import run; from notifyd.daemon import Patience"
        return ("-c", f"{imports}; run(Path({str(self.settings)!r}), {self.patience!r})")

    async def ready(self, timeout: float = 30) -> None:
        """Return once it has told systemd that it is ready, at its start or after a reload."""
        told = asyncio.create_task(self._told_ready())
        ended = asyncio.create_task(self._process.wait())
        done, pending = await asyncio.wait({told, ended}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        assert told in done, f"it is not ready:\n{self.log.read_text()}"
        self.ready_after = self.ready_after or time.monotonic() - self.started_at

    async def __aenter__(self) -> Self:
        await self.start()
        await self.ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self.returncode is None:
            await self.end(signal.SIGTERM if kind is None else signal.SIGKILL)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.returncode

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGTERM, timeout: float = 30) -> int:
        """Send a signal that ends it, and return its exit status once it has ended."""
        if self.returncode is None:
            self.send(number)
        return await self.ended(timeout)

    async def ended(self, timeout: float = 30) -> int:
        """Its exit status, once it has ended."""
        async with asyncio.timeout(timeout):
            status = await self._process.wait()
        self._systemd.close()
        return status

    async def said(self, event: str, timeout: float = 10) -> dict[str, Any]:
        """The first line of its log whose text holds `event`, once there is one."""
        await until(lambda: self.lines(event), timeout, f"the line “{event}” in its log")
        return self.lines(event)[0]

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """The lines of its log whose text holds `event`."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if event in line["event"]]

    async def tells(self) -> dict[str, str]:
        """The next message to systemd: {"STATUS": …}."""
        text = (await asyncio.get_running_loop().sock_recv(self._systemd, 4096)).decode()
        self.told.append(dict(line.split("=", 1) for line in text.splitlines()))
        return self.told[-1]

    async def tells_of(self, words: str, key: str = "STATUS", timeout: float = 15) -> dict[str, str]:
        """The next message to systemd in which the key's text holds these words."""
        async with asyncio.timeout(timeout):
            while words not in (message := await self.tells()).get(key, ""):
                pass
        return message

    async def watched(self, seconds: float) -> int:
        """How often it said within that time that it is alive."""
        begun = len(self.told)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await self.tells()
        return sum("WATCHDOG" in message for message in self.told[begun:])

    async def _told_ready(self) -> None:
        while "READY" not in await self.tells():
            pass
