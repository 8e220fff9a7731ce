"""What one rendering of a person's template may cost. Everything that takes time or makes a value pays here first.

A template cannot be stopped from outside, because it runs on the event loop: one that asks too much is ended from
inside, at the next turn of a loop or the next value that it makes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

MOST_CHARACTERS = 100_000
"""Of all values together that are made on the way, and turns of loops count as one each."""

MOST_SECONDS = 0.25
"""Of this thread's own time, so that a busy machine ends no template."""


class TooMuch(Exception):
    """A template wants more than one notification is worth."""


@dataclass(slots=True)
class Budget:
    """What is left for one rendering."""

    characters: int = MOST_CHARACTERS
    until: float = field(default_factory=lambda: time.thread_time() + MOST_SECONDS)

    def take(self, characters: int) -> None:
        """Pay for so many characters, or for a turn of a loop. Raises TooMuch where nothing is left."""
        self.characters -= characters
        if self.characters < 0:
            raise TooMuch(f"it makes more than {MOST_CHARACTERS} characters on its way")
        if time.thread_time() > self.until:
            raise TooMuch(f"it takes longer than {MOST_SECONDS:g} s")


_budget: ContextVar[Budget] = ContextVar("budget")


@contextmanager
def a_budget() -> Iterator[None]:
    """A new budget for what happens inside."""
    token = _budget.set(Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def take(characters: int) -> None:
    """Pay out of the budget of this rendering."""
    _budget.get().take(characters)


def counted(items: Iterable[Any]) -> Iterator[Any]:
    """The items, each paid for."""
    for item in items:
        take(1)
        yield item


def paid(value: Any) -> Any:
    """The value, its size paid for; what would be made while it is read is made now."""
    if isinstance(value, Iterator):
        return list(counted(value))
    if isinstance(value, str | list | tuple):
        take(len(value))
    return value
