"""The process of one channel: it makes the channel from its options, and does as the daemon says, over a socket.

The daemon's word is read on a thread of its own, so that the process ends with the daemon even while the plugin
blocks its loop. Whatever the plugin prints goes to the daemon's log.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import itertools
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from notifyd.api import Answer, Channel, Notification, Reject, Rendered, Retry
from notifyd.isolation import wire
from notifyd.plugin_host import discover

MEMORY = 512 * 1024 * 1024
"""Bytes of data that a channel's process may have; beyond them its allocations fail."""

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
_PREFERRED_VICTIM = "500"  # of the kernel, where the machine's memory ends


class Line:
    """The connection to the daemon, and what is waited for from there."""

    def __init__(self, speech: socket.socket, files: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self._speech, self._files, self._loop = speech, files, loop
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._numbers = itertools.count(1)
        self._writing = threading.Lock()

    def say(self, **message: Any) -> None:
        """Tell the daemon something; blocks while it does not listen."""
        with self._writing:
            self._speech.sendall(wire.jsoned(message))

    async def call(self, what: str, of: int, **arguments: Any) -> tuple[int, Any]:
        """Ask the daemon for something; the number of the call and the answer. Raises what it raised there."""
        number = next(self._numbers)
        future = self._calls[number] = self._loop.create_future()
        self.say(**{"is": what}, call=number, of=of, **arguments)
        try:
            return number, await future
        finally:
            del self._calls[number]

    def answered(self, number: int, kind: str, *values: Any) -> None:
        """The daemon answered a call."""
        future = self._calls.get(number)
        if future is None or future.done():
            return
        if kind == "returned":
            future.set_result(values[0])
        else:
            future.set_exception(_error(kind, values))

    def taken_over(self, number: int) -> socket.socket:
        """The socket that came with the answer."""
        while number not in self._sockets:
            call, connection = wire.taken_over(self._files)
            self._sockets[call] = connection
        return self._sockets.pop(number)


def _error(kind: str, values: tuple[Any, ...]) -> Exception:
    if kind == "retry":
        return Retry(values[0], values[1], status_code=values[2])
    if kind == "reject":
        return Reject(values[0], status_code=values[1])
    return RuntimeError(values[0])


class _Http:
    """`ctx.http`: the daemon makes the request."""

    def __init__(self, line: Line, of: int) -> None:
        self._line, self._of = line, of

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float | None = None,
    ) -> Answer:
        encoded = base64.b64encode(body).decode()
        given = {"method": method, "url": url, "headers": dict(headers or {}), "body": encoded, "timeout": timeout}
        answer: Answer = (await self._line.call("http", self._of, **given))[1]
        return answer


class _Log:
    """`ctx.log`: the daemon writes the line."""

    def __init__(self, line: Line, of: int) -> None:
        self._line, self._of = line, of

    def debug(self, event: str, **fields: Any) -> None:
        self._say("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._say("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._say("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._say("error", event, fields)

    def _say(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        plain = {
            name: value if value is None or isinstance(value, bool | int | float) else str(value)
            for name, value in fields.items()
        }
        self._line.say(**{"is": "log"}, of=self._of, level=level, event=str(event), fields=plain)


class _CheckContext:
    """`notifyd.api.CheckContext`, by way of the daemon."""

    def __init__(self, line: Line, of: int, now: datetime, timeout: float) -> None:
        self._line, self._of = line, of
        self.http, self.log, self.now, self.timeout = _Http(line, of), _Log(line, of), now, timeout

    async def connect(self, host: str, port: int) -> socket.socket:
        number, _ = await self._line.call("connect", self._of, host=host, port=port)
        return self._line.taken_over(number)


class _Context(_CheckContext):
    """`notifyd.api.Context`, by way of the daemon."""

    def __init__(
        self, line: Line, of: int, delivery: str, words: Rendered, now: datetime, attempt: int, timeout: float
    ) -> None:
        super().__init__(line, of, now, timeout)
        self.delivery_id, self.attempt, self._words = delivery, attempt, words

    def render(self) -> Rendered:
        return self._words


class Work:
    """The channel, and what it is doing."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._channel: Channel[Any]
        self._opened, self.closed = asyncio.Event(), asyncio.Event()

    def told(self, what: str, *values: Any) -> None:
        """The daemon said something; called on the loop's thread."""
        steps: Mapping[str, Callable[..., object]] = {
            "start": self._start,
            "send": self._send,
            "open": self._reopen,
            "check": self._check,
            "cancel": self._cancel,
            "reply": self._line.answered,
            "close": self._close,
        }
        steps[what](*values)

    def _start(self, plugins_dir: str, origin: str, name: str, options: str) -> None:
        self._begin(0, "ready", lambda: self._open(plugins_dir, origin, name, options))

    async def _open(self, plugins_dir: str, origin: str, name: str, options: str) -> None:
        cls = discover(Path(plugins_dir) if plugins_dir else None, only=origin).channels[name].cls
        context = {"secrets": _no_references}
        self._channel = cls(cls.Options.model_validate_json(options, strict=True, context=context))
        try:
            await self._channel.open()
        finally:
            self._opened.set()  # one that did not open is used as it is, as in the daemon

    def _reopen(self, number: int) -> None:
        self._begin(number, "ended", lambda: self._channel.open())

    def _send(
        self, number: int, notification: Notification, words: Rendered, now: datetime, attempt: int, timeout: float
    ) -> None:
        ctx = _Context(self._line, number, notification.id, words, now, attempt, timeout)
        self._begin(number, "ended", lambda: self._once_open(lambda: self._channel.send(notification, ctx)))

    def _check(self, number: int, now: datetime, timeout: float) -> None:
        ctx = _CheckContext(self._line, number, now, timeout)
        self._begin(number, "ended", lambda: self._once_open(lambda: self._channel.check(ctx)))

    async def _once_open(self, work: Callable[[], Awaitable[str | None]]) -> str | None:
        await self._opened.wait()
        return await work()

    def _cancel(self, number: int) -> None:
        if task := self._tasks.get(number):
            task.cancel()

    def _close(self) -> None:
        async def close() -> None:
            try:
                await self._channel.close()
            finally:
                self.closed.set()

        self._begin(-1, "closed", close)

    def _begin(self, number: int, what: str, work: Callable[[], Awaitable[Any]]) -> None:
        task = asyncio.create_task(self._do(number, what, work), name=f"{what} {number}")
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _do(self, number: int, what: str, work: Callable[[], Awaitable[Any]]) -> None:
        message: dict[str, Any]
        try:
            note = await work()
            message = {"note": note if isinstance(note, str) else None}
        except Retry as error:
            message = {"retry": str(error.reason), "after": error.after, "status": error.status_code}
        except Reject as error:
            message = {"reject": str(error.reason), "status": error.status_code}
        except BaseException as error:  # also SystemExit: it ends an attempt, not the process
            message = {"bug": _text(error), "traceback": "".join(traceback.format_exception(error))}
        self._line.say(**{"is": what}, of=number, **message)
        if what == "ready" and not self._opened.is_set():
            os._exit(1)  # there is no channel


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def _no_references(kind: str, name: str) -> str:
    raise ValueError("the daemon hands secrets over as text")


def _read(speech: socket.socket, loop: asyncio.AbstractEventLoop, work: Work) -> None:
    """Hear the daemon, until it is gone: then this process is too, whatever it is doing."""
    with suppress(EOFError, OSError):
        while True:
            loop.call_soon_threadsafe(work.told, *wire.told(speech))
    os._exit(0)


async def _run(speech: socket.socket, files: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    work = Work(Line(speech, files, loop))
    threading.Thread(target=_read, args=(speech, loop, work), name="daemon", daemon=True).start()
    await work.closed.wait()


def _restrain() -> None:
    """Die with the daemon, and before it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_PREFERRED_VICTIM)


def main() -> None:
    """Serve the daemon at the other end of the two sockets whose numbers are given."""
    speech, files = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    _restrain()
    asyncio.run(_run(speech, files))
    os._exit(0)  # a thread that the plugin left behind is no reason to stay
