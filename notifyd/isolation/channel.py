"""What stands in the daemon for a channel that runs in a process of its own."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from notifyd.api import Channel, CheckContext, Context, Logger, Notification, Reject, Retry
from notifyd.api import Options as AnyOptions
from notifyd.api.options import with_secrets
from notifyd.isolation import wire
from notifyd.isolation.process import Process
from notifyd.observe.printed import Few
from notifyd.plugin_host import Registered

GRACE = 1.0
"""Seconds that a process has to end an attempt that was cancelled, before it is killed."""

LONGEST_PAUSE = 60.0
"""Seconds after which a process that keeps dying is started again, at the latest."""

LINES = 100
"""Log lines of one attempt; what is beyond is dropped."""

_STARTING = 20.0
_LEVELS = ("debug", "info", "warning", "error")


class Died(Exception):
    """The channel's process ended while it was sending, or its channel has a bug."""


class Elsewhere(Exception):
    """A traceback out of the process, for the log."""


@dataclass(slots=True)
class _Asked:
    """Something that the process was asked, and with what it may do it."""

    answer: asyncio.Future[dict[str, Any]]
    ctx: CheckContext | None = None  # open has none
    lines: int = 0


class IsolatedChannel(Channel[AnyOptions]):
    """Sends through a channel that runs in a process of its own; `kind` is the channel's class."""

    name = "isolated"
    Options = AnyOptions

    def __init__(
        self, options: AnyOptions, plugin: Registered[Channel[Any]], plugins_dir: Path | None, log: Logger
    ) -> None:
        super().__init__(options)
        self.kind = plugin.cls
        self._start_message = ("start", str(plugins_dir or ""), plugin.origin, plugin.name, with_secrets(options))
        self._log = log
        self._process: Process | None = None
        self._ready: asyncio.Future[dict[str, Any]] | None = None
        self._starting = asyncio.Lock()
        self._asked: dict[int, _Asked] = {}
        self._numbers = itertools.count(1)
        self._calls: set[asyncio.Task[None]] = set()
        self._spawning: asyncio.Task[Process] | None = None
        self._reaping: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._deaths = 0
        self._not_before = 0.0
        self._closed = False
        self._unopened = False

    async def open(self) -> None:
        """Start the process; where its channel did not open, have it try again."""
        process = await self._running()
        if self._unopened:
            await self._ask(process, None, "open")
            self._unopened = False

    async def close(self) -> None:
        """Have the channel close, and end the process."""
        self._closed = True
        if self._spawning and not self._spawning.done():
            self._reap(self._spawning)
        if process := self._process:
            await process.end()
        if self._watching:
            await asyncio.wait([self._watching])
        if self._reaping:
            await asyncio.wait(self._reaping)
        for call in list(self._calls):
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)

    async def send(self, notification: Notification, ctx: Context) -> str | None:
        """Have the process send it."""
        process = await self._running()
        words = ctx.render()
        answer = await self._ask(process, ctx, "send", notification, words, ctx.now, ctx.attempt, ctx.timeout)
        self._deaths = 0
        note = answer.get("note")
        return note if isinstance(note, str) else None

    async def check(self, ctx: CheckContext) -> str | None:
        """Have the process check."""
        process = await self._running()
        note = (await self._ask(process, ctx, "check", ctx.now, ctx.timeout)).get("note")
        return note if isinstance(note, str) else None

    # -- asking ----------------------------------------------------------------------------------

    async def _ask(self, process: Process, ctx: CheckContext | None, what: str, *values: Any) -> dict[str, Any]:
        """What comes of it; Retry, Reject or Died where it is not done."""
        number = next(self._numbers)
        asked = self._asked[number] = _Asked(asyncio.get_running_loop().create_future(), ctx)
        process.say(what, number, *values)
        try:
            answer = await asked.answer
        except asyncio.CancelledError:
            process.say("cancel", number)
            self._expect_end(process, number)
            raise
        self._asked.pop(number, None)
        _raise_what_it_raised(answer)
        return answer

    def _expect_end(self, process: Process, number: int) -> None:
        """An attempt that was cancelled has to end soon."""

        async def wait() -> None:
            await asyncio.sleep(GRACE)
            if self._asked.pop(number, None) and process is self._process:
                process.kill("it was killed, because an attempt did not end when its time was up")

        if asked := self._asked.get(number):
            asked.answer = asyncio.get_running_loop().create_future()  # the one before was cancelled
            self._begin(wait())

    # -- the process -----------------------------------------------------------------------------

    async def _running(self) -> Process:
        """The process, started where it is not there; Retry while it is too early to start it again."""
        async with self._starting:
            if self._process is None:
                self._wait_for_its_turn()
                await self._start()
            assert self._process is not None  # noqa: S101 - started just now
            return self._process

    def _wait_for_its_turn(self) -> None:
        if self._closed:
            raise Retry("the channel is closed")
        if (pause := self._not_before - asyncio.get_running_loop().time()) > 0:
            times = "" if self._deaths == 1 else f" {self._deaths} times in a row"
            raise Retry(f"the channel's process ended{times}; it is started again in {pause:.0f} s", pause)

    async def _start(self) -> None:
        ready = self._ready = asyncio.get_running_loop().create_future()
        process = self._process = await self._spawned()
        self._watching = asyncio.create_task(self._watch(process), name=f"watch {process.pid}")
        process.say(*self._start_message)
        try:
            async with asyncio.timeout(_STARTING):
                answer = await ready
        except TimeoutError:
            process.kill(f"it was not ready within {_STARTING:g} s")
            raise Died(f"the channel's process was not ready within {_STARTING:g} s") from None
        self._unopened = bool({"bug", "retry", "reject"} & answer.keys())
        _raise_what_it_raised(answer)

    async def _spawned(self) -> Process:
        """A process. One that comes when nobody waits for it any more is ended."""
        spawning = self._spawning = asyncio.create_task(Process.start(self._heard, Few(self._printed, self._left_out)))
        try:
            process = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            self._reap(spawning)
            raise
        if self._closed:  # which ends it, too
            raise Retry("the channel is closed")
        return process

    def _reap(self, spawning: asyncio.Task[Process]) -> None:
        async def reap() -> None:
            process = await spawning
            process.kill("nobody waits for it")
            await process.gone()

        task = asyncio.create_task(reap())
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)

    async def _watch(self, process: Process) -> None:
        """Wait for its end, and tell whoever waits for it."""
        why = await process.gone()
        self._process = None
        if self._closed:
            return
        self._deaths += 1
        self._not_before = asyncio.get_running_loop().time() + min(LONGEST_PAUSE, 2.0 ** (self._deaths - 1))
        self._log.error("the channel's process ended", why=why, in_flight=len(self._asked), deaths=self._deaths)
        answer = {"died": f"the channel's process ended: {why}"}
        waiting = [asked.answer for asked in self._asked.values()]
        self._asked.clear()
        for future in [self._ready, *waiting]:
            if future and not future.done():
                future.set_result(answer)

    def _printed(self, line: str) -> None:
        self._log.info("the channel printed", text=line)

    def _left_out(self, lines: int) -> None:
        self._log.warning(f"{lines} more lines that it printed are left out", lines=lines)

    # -- what it says ----------------------------------------------------------------------------

    def _heard(self, message: dict[str, Any]) -> None:
        match message.get("is"):
            case "ready" if self._ready and not self._ready.done():
                self._ready.set_result(message)
            case "ended":
                asked = self._asked.get(message["of"])
                if asked and not asked.answer.done():
                    asked.answer.set_result(message)
                self._asked.pop(message["of"], None)
            case "log" if message["level"] in _LEVELS:
                asked = self._asked.get(message["of"])
                if asked and asked.ctx and asked.lines < LINES:
                    asked.lines += 1
                    getattr(asked.ctx.log, message["level"])(str(message["event"]), **message["fields"])
            case "http" | "connect" as call:
                if (asked := self._asked.get(message["of"])) and asked.ctx:
                    self._begin((self._http if call == "http" else self._connect)(asked.ctx, message))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _http(self, ctx: CheckContext, message: dict[str, Any]) -> None:
        async def request() -> Any:
            return await ctx.http.request(
                message["method"],
                message["url"],
                headers=message["headers"],
                body=base64.b64decode(message["body"]),
                timeout=message["timeout"],
            )

        await self._reply(message["call"], request)

    async def _connect(self, ctx: CheckContext, message: dict[str, Any]) -> None:
        async def connect() -> None:
            connection = await ctx.connect(message["host"], message["port"])
            if self._process:
                wire.hand_over(self._process.files, message["call"], connection)

        await self._reply(message["call"], connect)

    async def _reply(self, call: int, work: Callable[[], Awaitable[Any]]) -> None:
        process = self._process
        try:
            answer: tuple[Any, ...] = ("returned", await work())
        except Retry as error:
            answer = ("retry", error.reason, error.after, error.status_code)
        except Reject as error:
            answer = ("reject", error.reason, error.status_code)
        except Exception as error:
            answer = ("raised", f"{type(error).__name__}: {error}")
        if process:
            process.say("reply", call, *answer)


def _raise_what_it_raised(answer: dict[str, Any]) -> None:
    if "died" in answer:
        raise Died(answer["died"])
    if "retry" in answer:
        raise Retry(str(answer["retry"]), answer.get("after"), status_code=answer.get("status"))
    if "reject" in answer:
        raise Reject(str(answer["reject"]), status_code=answer.get("status"))
    if "bug" in answer:
        raise Died(str(answer["bug"])) from Elsewhere(str(answer.get("traceback")))
