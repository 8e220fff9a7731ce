"""Finds where each key of a TOML text stands: parsed TOML carries no lines.

    locate(text) → {("notifications", 0, "config", "webhook_url"): Position(12, 1), …}

A tokenizer for text that tomli has already accepted (TOML 1.1, https://toml.io/en/v1.1.0): it reads
every string, array and inline table as what it is, and never searches for a key's name.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

import tomli

KeyPath = tuple[str | int, ...]
"""The keys and list indexes that lead to a value."""

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'''
      """ (?: \\. | [^\\] )*? """ "{0,2}   # up to two quotes may stand before the three that close it
    | \'\'\' .*? \'\'\' \'{0,2}
    | " (?: \\. | [^"\\] )* "
    | ' [^']* '
    ''',
    re.DOTALL | re.VERBOSE,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")  # numbers, booleans, and times with a space in them


class Position(NamedTuple):
    """Where something begins, as editors count: the first line is 1, the first column is 1."""

    line: int
    column: int


def locate(text: str) -> dict[KeyPath, Position]:
    """The position of every key and list element of a valid TOML text.

    A table stands where its own header is, or else where it is first mentioned; an element of an
    array of tables at its header; an element of a list at its value.
    """
    walk = _Walk(text)
    walk.document()
    starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def position(offset: int) -> Position:
        line = bisect_right(starts, offset)
        return Position(line, offset - starts[line - 1] + 1)

    return {path: position(offset) for path, offset in walk.found.items()}


class _Walk:
    """One pass over the text; `found` holds the offset of each path."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[KeyPath, int] = {}
        self.tables: dict[KeyPath, int] = {}  # arrays of tables, and the index of the newest element

    def document(self) -> None:
        table: KeyPath = ()
        while self.skip(_BLANK) < len(self.text):
            if self.take("[["):
                table = self.table_in_array()
            elif self.take("["):
                table = self.table()
            else:
                self.pair(table)

    def table(self) -> KeyPath:
        """`[a.b]`, from behind the bracket."""
        path, start = self.header()
        self.found[path] = start
        return path

    def table_in_array(self) -> KeyPath:
        """`[[a.b]]`, from behind the brackets."""
        path, start = self.header()
        self.found.setdefault(path, start)
        self.tables[path] = self.tables.get(path, -1) + 1
        element = (*path, self.tables[path])
        self.found[element] = start
        return element

    def header(self) -> tuple[KeyPath, int]:
        """The path that a header names, and where its last key stands. Its parents may be arrays of tables."""
        path: KeyPath = ()
        keys = self.key()
        for key, start in keys[:-1]:
            path = (*path, key)
            self.found.setdefault(path, start)
            if path in self.tables:
                path = (*path, self.tables[path])
        self.skip(_SPACE)
        while self.take("]"):
            pass
        last, start = keys[-1]
        return (*path, last), start

    def pair(self, path: KeyPath) -> None:
        """`a.b = value` in the table at `path`."""
        for key, start in self.key():
            path = (*path, key)
            self.found.setdefault(path, start)
        self.skip(_SPACE)
        self.take("=")
        self.skip(_SPACE)
        self.value(path)

    def key(self) -> list[tuple[str, int]]:
        """A dotted key: each part, and where it stands."""
        self.skip(_SPACE)
        parts = [self.key_part()]
        while (dot := _DOT.match(self.text, self.at)) is not None:
            self.at = dot.end()
            parts.append(self.key_part())
        return parts

    def key_part(self) -> tuple[str, int]:
        start = self.at
        bare = _BARE_KEY.match(self.text, start)
        if bare is not None:
            self.at = bare.end()
            return bare.group(), start
        self.skip(_STRING)
        return _unquote(self.text[start : self.at]), start

    def value(self, path: KeyPath) -> None:
        if self.take("["):
            self.array(path)
        elif self.take("{"):
            self.inline_table(path)
        elif self.text.startswith(('"', "'"), self.at):
            self.skip(_STRING)
        else:
            self.skip(_SCALAR)

    def array(self, path: KeyPath) -> None:
        """A list, from behind its bracket; it may spread over lines."""
        self.skip(_BLANK)
        index = 0
        while not self.take("]"):
            self.found[*path, index] = self.at
            self.value((*path, index))
            self.separator()
            index += 1

    def inline_table(self, path: KeyPath) -> None:
        """An inline table, from behind its brace; since TOML 1.1 it may spread over lines."""
        self.skip(_BLANK)
        while not self.take("}"):
            self.pair(path)
            self.separator()

    def separator(self) -> None:
        self.skip(_BLANK)
        self.take(",")
        self.skip(_BLANK)

    def skip(self, pattern: re.Pattern[str]) -> int:
        """Go to the end of what the pattern matches here; where that is."""
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at

    def take(self, token: str) -> bool:
        """Go past the token if it stands here."""
        if not self.text.startswith(token, self.at):
            return False
        self.at += len(token)
        return True


def _unquote(token: str) -> str:
    """The text of a quoted key."""
    return str(tomli.loads(f"key = {token}")["key"])
