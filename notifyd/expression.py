"""Regular expressions that an admin wrote: compiled once, and never searched for longer than a moment.

One that repeats a repetition, such as `(a|aa)+$`, may take for ever on an unlucky text. It is stopped; and one that
had to be stopped a few times is left out from then on, so that a storm of such texts costs no more than one.
"""

from __future__ import annotations

import re
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


LARGEST: Final = 10_000
"""How many characters an expression may come to with its counts written out: `a{3}` is three. Each takes some
300 bytes, and `(a{9999}){9999}` would take all the memory there is."""

_COUNT = re.compile(r"\{([0-9]*)(?:,[0-9]*)?\}")
_READ_OTHERWISE = re.compile(r"\(\?[A-Za-z0-9-]*[xV]|(?<!\\)\{[^{}:]*[<=][^{}:]*:")
"""Comments and spaces that do not count, sets within sets, and tests of fuzzy matches."""

_CLASS = re.compile(r"\[\^?(?:\\.|.)(?:\\.|[^\]\\])*\]", re.DOTALL)
_NO_ITEM = re.compile(r"\(\?#(?:\\.|[^)\\])*\)|\(\?[A-Za-z0-9-]*\)|\{[^{}]*\}|[*+?{}]", re.DOTALL)
"""Comments, flags, fuzziness and repeats: a count after them repeats what is before them, or nothing."""


class TooSlow(Exception):
    """The search was stopped, so nobody knows whether the text holds what was searched for."""


class Expression:
    """Searches in any case of letters; `(?-i:…)` minds it. Raises ValueError where it is no regular expression."""

    __slots__ = ("_compiled", "_stopped", "pattern")

    def __init__(self, pattern: str) -> None:
        self._compiled = compile_pattern(pattern)
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


def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """A pattern of the package `regex`, in any case of letters. Give each search a `timeout`.

    Raises ValueError where it is no regular expression, or its counts make it a huge one.
    """
    if _written_out(pattern) > LARGEST:
        raise ValueError(f"is too large: with its counts written out it is longer than {LARGEST:,} characters")
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of what `[[` may mean one day
            return regex.compile(pattern, regex.IGNORECASE)
    except (regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is not a regular expression: {error}") from None


def _written_out(pattern: str) -> int:
    """How many characters it comes to, at least as many as `regex` makes of it: what may be repeated need not be."""
    if "{" in pattern and _READ_OTHERWISE.search(pattern):
        raise ValueError(
            "has { beside (?x), (?V1) or a fuzzy test, so that its size cannot be told; leave one of them out"
        )
    groups, last, at = [0], 0, 0  # the sizes of the groups that are open, and of what a count would repeat
    while at < len(pattern):
        length = 2 if pattern[at] == "\\" else 1
        if count := _COUNT.match(pattern, at):
            length = len(count[0])
            more = last * (max(int(count[1] or 1), 1) - 1)
            groups[-1], last = groups[-1] + more, last + more
        elif between := _NO_ITEM.match(pattern, at):
            length = len(between[0])
            groups[-1], last = groups[-1] + length, max(last, length)
        elif pattern[at] == "(":
            groups.append(1)
            last = 0
        elif pattern[at] == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        else:
            length = len(found[0]) if (found := _CLASS.match(pattern, at)) else length
            groups[-1], last = groups[-1] + length, length
        at += length
    return sum(groups)
