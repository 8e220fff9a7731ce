"""Reads a settings file that is no TOML around what is wrong with it, for commands that must help at night.

Each table with a mistake is left out whole, with the tables below it; all others stay, and their lines too. What says
where the state database is cannot be left out: another one would be looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from notifyd.settings.document import Document, parse, read_text
from notifyd.settings.problems import Problem, SettingsError

_HEADER = re.compile(r"""\s*\[\[?\s*([\w."' -]+?)\s*\]{0,2}\s*(?:#.*)?""")  # also one that was not closed
_STATE = re.compile(r"[^#]*\bstate\s*=")
_UNCLOSED = "invalid value"
"""What is said of a header that stands where a list has no end: the mistake is above it."""


def salvage(path: Path) -> tuple[Document, list[Problem]]:
    """What is left of the file, and the mistake in each table that is not. SettingsError where it cannot be read."""
    lines = read_text(path).splitlines()
    problems: list[Problem] = []
    while True:
        try:
            return parse(str(path), "\n".join(lines)), problems
        except SettingsError as error:
            problems += error.problems
            table = _table_of(lines, error.problems[0])
            if not any(line.strip() for line in lines[table.start : table.stop]) or _says_state(lines, table):
                raise SettingsError(problems) from None
            lines[table.start : table.stop] = [""] * len(table)


def _table_of(lines: Sequence[str], problem: Problem) -> range:
    """The lines of the table that a problem is in; none where it is nowhere."""
    if problem.line is None:
        return range(0)
    tables = list(_tables(lines))
    at = max(number for number, table in enumerate(tables) if table.start < problem.line)
    if _UNCLOSED in problem.text and tables[at].start == problem.line - 1 and at > 0:
        at -= 1
    return tables[at]


def _says_state(lines: Sequence[str], table: range) -> bool:
    return any(_STATE.match(lines[number]) for number in table)


def _tables(lines: Sequence[str]) -> Iterator[range]:
    """The lines of each table with those of the tables below it; first what is above all headers."""
    start, around = 0, ""
    for number, line in enumerate(lines):
        name = match[1] if (match := _HEADER.fullmatch(line)) else ""
        if name and not (around and name.startswith(f"{around}.")):
            if number > start or not around:
                yield range(start, number)
            start, around = number, name
    yield range(start, len(lines))
