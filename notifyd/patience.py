"""One step of a plugin, in a task of its own: it ends, or is left behind.

A channel may catch its cancellation, or cancel the task that it runs in. In a task of its own neither gets further:
when its time is up it is cancelled, has a moment to end, and is then left behind. Who waited for it goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

GRACE = 1.0
"""Seconds that a step has to end, once it was cancelled."""

MOST = 8
"""Steps of one plugin that are left behind at a time; after that none is begun."""


class Ended(NamedTuple, Generic[T]):
    """How a step ended: with a value, or what it raised; `late` where it was cancelled, as its time was up."""

    value: T | None = None
    error: BaseException | None = None  # also SystemExit, and a CancelledError that is the plugin's own
    late: bool = False
    left_behind: bool = False


@dataclass(slots=True)
class Patience:
    """What one config's plugin may take beyond its time, and what of it was left behind."""

    grace: float = GRACE
    most: int = MOST
    left: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        """Whether so much was left behind that nothing more should be begun."""
        return len(self.left) >= self.most

    def begin(self, step: Callable[[], Awaitable[T]], seconds: float, done: Callable[[Ended[T]], None]) -> Step[T]:
        """Begin a step, which has `seconds` and the grace; `done` is called once, with how it ended."""
        return Step(self, asyncio.get_running_loop(), step, seconds, done)

    async def ended(self, step: Callable[[], Awaitable[T]], seconds: float) -> Ended[T]:
        """The same, awaited. A CancelledError is then always one of whoever waits here."""
        ended: asyncio.Future[Ended[T]] = asyncio.get_running_loop().create_future()
        begun = self.begin(step, seconds, ended.set_result)
        try:
            return await ended
        except asyncio.CancelledError:
            begun.abandon()
            raise


class Step(Generic[T]):
    """One step under way. There is one for each send, so it costs a task and a timer, and nothing else."""

    __slots__ = ("_context", "_done", "_late", "_loop", "_patience", "_task", "_timer")

    def __init__(
        self,
        patience: Patience,
        loop: asyncio.AbstractEventLoop,
        step: Callable[[], Awaitable[T]],
        seconds: float,
        done: Callable[[Ended[T]], None],
    ) -> None:
        self._patience, self._loop, self._late = patience, loop, False
        self._done: Callable[[Ended[T]], None] | None = done
        self._context = copy_context()  # `done` is nothing of the plugin's
        self._task = loop.create_task(self._run(step))
        self._timer = loop.call_later(seconds, self._time_is_up)

    def abandon(self) -> None:
        """Nobody waits for it any more: cancel it, and call nobody."""
        self._done = None
        self._timer.cancel()
        self._task.cancel()
        self._keep()

    async def _run(self, step: Callable[[], Awaitable[T]]) -> None:
        try:
            ended = Ended(await step(), late=self._late)
        except BaseException as error:  # SystemExit would end the process from inside a task
            ended = Ended(error=error, late=self._late)
        self._over(ended)

    def _over(self, ended: Ended[T]) -> None:
        """How it ended is said once; what comes later counts for nothing."""
        if done := self._done:
            self._done = None
            self._timer.cancel()
            self._context.run(done, ended)

    def _time_is_up(self) -> None:
        self._late = True
        self._task.cancel()
        self._timer = self._loop.call_later(self._patience.grace, self._leave)

    def _leave(self) -> None:
        self._keep()
        self._over(Ended(late=True, left_behind=True))

    def _keep(self) -> None:
        """Hold the task until it ends, as the loop itself does not."""
        if not self._task.done():
            self._patience.left.add(self._task)
            self._task.add_done_callback(self._patience.left.discard)


def run(main: Coroutine[Any, Any, T], grace: float = GRACE) -> T:
    """As asyncio.run, which waits for ever for what swallows its cancellation; this does not."""
    with asyncio.Runner() as runner:
        try:
            return runner.run(main)
        finally:
            runner.run(_let_go(grace))


async def _let_go(grace: float) -> None:
    """Cancel whatever else is at work on this loop, and have the loop forget what does not end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    for task in (await asyncio.wait(others, timeout=grace))[1] if others else ():
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # as asyncio.gather has it
        asyncio.tasks._unregister_task(task)
