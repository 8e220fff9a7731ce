"""One run of a program: told something, watched, and killed with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Self, cast

_STDERR_LIMIT = 64 * 1024
_LAST_WORDS = 1.0  # seconds that its standard error may stay open behind it


class Run(asyncio.SubprocessProtocol):
    """One run of the program; of what it writes to standard error, the end."""

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> Self:
        """Run it without a shell, in a session of its own. Raises OSError where it cannot be run."""
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        _, run = await asyncio.get_running_loop().subprocess_exec(
            cls, *command, stdin=pipe, stdout=null, stderr=pipe, env=environment, start_new_session=True
        )
        return run

    def __init__(self) -> None:
        self._said = b""
        self._exited, self._silent = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._said = (self._said + data)[-_STDERR_LIMIT:]

    def process_exited(self) -> None:
        self._exited.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._silent.set()

    def tell(self, body: bytes) -> None:
        """Write to its standard input, which it need not read."""
        pipe = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))
        pipe.write(body)
        pipe.write_eof()

    async def end(self) -> int:
        """Its exit code; below zero, the signal that ended it."""
        await self._exited.wait()
        self._kill_group()  # what it left running would hold its standard error open
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._silent.wait(), _LAST_WORDS)
        return self._transport.get_returncode() or 0

    def last_line(self) -> str:
        """The last line that is not empty."""
        lines = self._said.decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    async def stop(self) -> None:
        """Nothing of it stays: also not what it started."""
        self._kill_group()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._exited.wait(), _LAST_WORDS)
        self._transport.close()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._transport.get_pid(), signal.SIGKILL)
