"""A thread of one's own: the system shows its name, and whoever waits for it may give up and leave it behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_LONGEST_NAME = 15  # bytes that Linux keeps


class Worker:
    """Runs functions one after another. It ends with the process, whatever it is at."""

    def __init__(self, name: str) -> None:
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the function when its turn comes."""
        future: Future[T] = Future()

        def turn() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function(*args, **kwargs)
            except BaseException as error:  # whoever waits gets it, as from a ThreadPoolExecutor
                future.set_exception(error)
            else:
                future.set_result(result)

        self._waiting.put(turn)
        return future

    def ask(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """The same for who waits on an event loop; with half of the locks that a concurrent Future takes.

        What is cancelled before its turn is not run; what has begun ends, and nobody hears of it.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def turn() -> None:
            if answer.cancelled():
                return
            try:
                settle = partial(_settle, answer, function(*args, **kwargs), None)
            except BaseException as error:
                settle = partial(_settle, answer, None, error)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle)

        self._waiting.put(turn)
        return answer

    def close(self) -> None:
        """End after what is queued; it does not wait for that."""
        self._waiting.put(None)

    def _run(self) -> None:
        _name_for_the_system(self._thread.name)
        while turn := self._waiting.get():
            turn()
            del turn  # what it holds is not kept until the next one


def _settle(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.cancelled():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)


def _name_for_the_system(name: str) -> None:
    """As top -H and the like show it; Python itself does so from 3.14 on."""
    with contextlib.suppress(OSError):
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_bytes(name.encode()[:_LONGEST_NAME])
