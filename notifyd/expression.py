"""Regular expressions that an admin wrote: compiled once, and never searched for longer than a moment.

One that repeats a repetition, such as `(a|aa)+$`, may take for ever on an unlucky text. It is stopped; and one that
had to be stopped a few times is left out from then on, so that a storm of such texts costs no more than one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import regex

T = TypeVar("T")

SECONDS: Final = 0.05
"""How long one search may take."""

CHANCES: Final = 3
"""How often an expression may run out of time before it is left out, until the settings are read again."""


class TooSlow(Exception):
    """The search was stopped, so nobody knows whether the text holds what was searched for."""


class Expression:
    """Searches in any case of letters; `(?-i:…)` minds it. Raises ValueError where it is no regular expression."""

    __slots__ = ("_compiled", "_stopped", "pattern")

    def __init__(self, pattern: str) -> None:
        try:
            with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of what `[[` may mean one day
                self._compiled = regex.compile(pattern, regex.IGNORECASE)
        except (regex.error, OverflowError, RecursionError) as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        self.pattern = pattern
        self._stopped = 0

    @property
    def left_out(self) -> bool:
        """Whether it ran out of time too often."""
        return self._stopped >= CHANCES

    def found_in(self, text: str) -> bool:
        """Whether the text holds it; a search that was stopped found nothing."""
        with suppress(TooSlow):
            return self._timed(lambda: self._compiled.search(text, timeout=SECONDS)) is not None
        return False

    def is_all_of(self, text: str) -> bool:
        """Whether it is the whole text; a search that was stopped found nothing."""
        with suppress(TooSlow):
            return self._timed(lambda: self._compiled.fullmatch(text, timeout=SECONDS)) is not None
        return False

    def replaced_in(self, text: str, instead: str) -> str:
        """The text with `instead` wherever it holds it. Raises TooSlow."""
        replaced: str = self._timed(lambda: self._compiled.sub(lambda _: instead, text, timeout=SECONDS))
        return replaced

    def _timed(self, search: Callable[[], T]) -> T:
        if self.left_out:
            raise TooSlow(self.pattern)
        try:
            return search()
        except TimeoutError:
            self._stopped += 1
            raise TooSlow(self.pattern) from None

    def __repr__(self) -> str:
        return f"Expression({self.pattern!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and other.pattern == self.pattern

    def __hash__(self) -> int:
        return hash((Expression, self.pattern))
