"""What is wrong with a settings file, each problem in one line, all of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from notifyd.errors import NotifydError


class Problem(NamedTuple):
    """One thing that is wrong. `key` is empty where the file itself is the problem."""

    file: str
    line: int | None
    key: str
    text: str
    column: int | None = None  # of a syntax error

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return ": ".join(part for part in (place, self.key, self.text) if part)


class SettingsError(NotifydError):
    """A settings file cannot be used; its text is one line per problem, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(
            sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0, problem.key))
        )
        super().__init__("\n".join(map(str, self.problems)))
