"""Reads a settings file into data that still knows its lines."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli

from notifyd.settings.locate import KeyPath, Position, locate
from notifyd.settings.problems import Problem, SettingsError

_DEEPEST = 100  # no setting is, and whoever walks the data by recursion may rely on it
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Document:
    """The parsed TOML, and where each of its keys stands."""

    file: str
    data: dict[str, Any]
    positions: Mapping[KeyPath, Position] = field(default_factory=dict)

    def problem(self, path: KeyPath, text: str) -> Problem:
        """Something that is wrong with the key at `path`."""
        return Problem(self.file, self.line(path), self.label(path), text)

    def where(self, path: KeyPath) -> str:
        """ "file:line" of a key."""
        line = self.line(path)
        return self.file if line is None else f"{self.file}:{line}"

    def line(self, path: KeyPath) -> int | None:
        """The key's line; for one that is not there, that of the nearest table around it."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions[path].line if path else None

    def label(self, path: KeyPath) -> str:
        """The key path for people: `notifications["ops-slack"].config.webhook_url`; an index where names repeat."""
        label = ""
        for depth, step in enumerate(path):
            label += self._index(path[:depth], step) if isinstance(step, int) else f".{_written(step)}"
        return label.removeprefix(".")

    def tables(self, path: KeyPath) -> list[tuple[KeyPath, dict[str, Any]]]:
        """The elements of a list of tables and their paths, without those that are no tables."""
        elements = self.value(path)
        if not isinstance(elements, list):
            return []
        return [((*path, index), table) for index, table in enumerate(elements) if isinstance(table, dict)]

    def value(self, path: KeyPath) -> Any:
        """What stands at the path; None where nothing does."""
        value: Any = self.data
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def _index(self, path: KeyPath, index: int) -> str:
        names = [table.get("name") for _, table in self.tables(path)]
        name = self.value((*path, index, "name"))
        return f"[{_quoted(name)}]" if isinstance(name, str) and name and names.count(name) == 1 else f"[{index}]"


def read_document(path: Path) -> Document:
    """The file as a Document. Raises SettingsError where it cannot be read as one."""
    return parse(str(path), read_text(path))


def parse(file: str, text: str) -> Document:
    """The text of a file as a Document. Raises SettingsError where it is no TOML."""
    try:
        return Document(file, tomli.loads(text), _shallow(locate(text)))
    except tomli.TOMLDecodeError as error:
        reason = f"{error.msg[:1].lower()}{error.msg[1:]}"
        problem = Problem(file, error.lineno, "", f"this is not TOML: {reason}", error.colno)
    except RecursionError:
        problem = Problem(file, None, "", "lists and tables are nested too deeply")
    except ValueError as error:  # a number of thousands of digits
        problem = Problem(file, None, "", f"this cannot be read as TOML: {error}")
    raise SettingsError([problem])


def read_text(path: Path) -> str:
    """The text of the file. Raises SettingsError where it cannot be read, or is none."""
    return _decode(path, _read(path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        text = "there is no such file; `notifyd init` writes one to begin with"
    except IsADirectoryError:
        text = "this is a directory; expected a TOML file"
    except PermissionError:
        text = "permission denied: the user that notifyd runs as may not read it"
    except (OSError, ValueError) as error:
        text = f"it cannot be read: {error}"
    raise SettingsError([Problem(str(path), None, "", text)])


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")  # Windows editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        text = f"this is not UTF-8 text (byte 0x{content[error.start]:02x}); save the file as UTF-8"
        raise SettingsError([Problem(str(path), line, "", text)]) from None


def _shallow(positions: dict[KeyPath, Position]) -> dict[KeyPath, Position]:
    """The positions, if nothing is nested so deeply that walking the data could fail."""
    if max(map(len, positions), default=0) > _DEEPEST:
        raise RecursionError
    return positions


def _written(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _quoted(key)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
