"""One process of a channel: it is started, spoken to, and killed where it does not end by itself."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from typing import Any, Self

from notifyd.isolation import wire
from notifyd.observe.printed import MOST, Few

_LONGEST_LINE = 500
_GOODBYE = 2.0
_AT_ONCE = 100
_BREATH = 0.01
_TAIL = 4096
_PIPE = 1 << 20  # bytes of what it prints; as much as Linux gives anyone
_READS = 0.05  # seconds between two looks at it

Hears = Callable[[dict[str, Any]], None]


class Process:
    """A process that runs. `hears` is called with each message of its, its lines go to `printed`."""

    def __init__(
        self,
        child: asyncio.subprocess.Process,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        files: socket.socket,
        output: FileIO,
        hears: Hears,
        printed: Few,
    ) -> None:
        self._child, self.files, self._output = child, files, output
        self._reader, self._writer = streams
        self._killed = self._last_words = ""
        self._listening = asyncio.create_task(self._listen(hears), name=f"listen to {child.pid}")
        self._reading = asyncio.create_task(self._read_output(printed), name=f"read from {child.pid}")

    @classmethod
    async def start(cls, hears: Hears, printed: Few) -> Self:
        """Start one, and listen to it."""
        speech, its_speech = socket.socketpair()
        files, its_files = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        output, its_output = (FileIO(end, mode) for end, mode in zip(os.pipe(), "rw", strict=True))
        with suppress(OSError, AttributeError):  # there are too many of them, or no Linux: it waits more often
            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, _PIPE)
        with its_speech, its_files, its_output:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "notifyd.isolation"),
                *(str(its_speech.fileno()), str(its_files.fileno())),
                pass_fds=(its_speech.fileno(), its_files.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=its_output,
                stderr=its_output,
                start_new_session=True,
            )
        return cls(child, await asyncio.open_unix_connection(sock=speech), files, output, hears, printed)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._child.pid

    def say(self, *message: Any) -> None:
        """Tell it something; nothing happens where it is gone."""
        if not self._writer.is_closing():
            self._writer.write(wire.pickled(message))

    def kill(self, why: str) -> None:
        """End it at once, and whatever it has started."""
        self._killed = self._killed or why
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Let it close, and kill it where that takes too long."""
        self.say("close")
        try:
            async with asyncio.timeout(_GOODBYE):
                await self._child.wait()
        except TimeoutError:
            self.kill("it did not close")
        except asyncio.CancelledError:  # its time is up: `gone`, which somebody waits for, does the rest
            self.kill("it did not close")
            raise
        await self.gone()

    async def gone(self) -> str:
        """Wait for its end; why it ended, for a person."""
        await asyncio.wait([self._listening])
        self.kill("")  # what it has started goes too
        status = await self._child.wait()
        await asyncio.wait([self._reading], timeout=1)
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self._output.close()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()
        self.files.close()
        said = f"; the last that it said: {self._last_words}" if self._last_words else ""
        return self._killed or _how(status) + said

    async def _listen(self, hears: Hears) -> None:
        """Until it is gone, or talks nonsense. One that talks too much is heard slowly, and waits."""
        try:
            for count in itertools.count(1):
                hears(await wire.heard(self._reader))
                await asyncio.sleep(_BREATH if count % _AT_ONCE == 0 else 0)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except (wire.Nonsense, LookupError, TypeError, ValueError, AttributeError) as error:
            self.kill(f"it sent what nobody understands ({error})")

    async def _read_output(self, printed: Few) -> None:
        """What it prints is logged, but no more of it than anyone reads; the rest is read slowly, and dropped."""
        while chunk := await self._printed():
            shown = chunk[-_TAIL:].decode(errors="replace").splitlines()[len(chunk) > _TAIL :]  # not half a line
            lines = [line.strip() for line in shown if line.strip()]
            for line in lines[:MOST]:
                printed.add(line[:_LONGEST_LINE])
            printed.leave_out(chunk[:-_TAIL].count(b"\n") + len(lines[MOST:]))
            self._last_words = lines[-1][:_LONGEST_LINE] if lines else self._last_words
            await asyncio.sleep(_READS)
        printed.tell()

    async def _printed(self) -> bytes:
        """What it has printed since; nothing at its end. A stream would wake the loop for each of its writes."""
        loop, there_is_some = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._output, there_is_some.set)
        try:
            await there_is_some.wait()
        finally:
            loop.remove_reader(self._output)
        return self._output.read(_PIPE)


def _how(status: int) -> str:
    if status < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
