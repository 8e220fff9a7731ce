"""`notifyd plugin new`: a plugin to begin with, which works and has its tests. The templates are in `scaffold/`."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from string import Template
from typing import NamedTuple

from notifyd import __version__
from notifyd.cli.options import WrongUse
from notifyd.cli.output import say
from notifyd.errors import NotifydError
from notifyd.plugin_host import discover

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


class _Words(NamedTuple):
    """What the templates are filled with."""

    kind: str
    name: str
    module: str
    words: dict[str, str]

    @classmethod
    def of(cls, name: str, kind: str) -> _Words:
        snake = name.replace("-", "_")
        camel = "".join(part.capitalize() for part in snake.split("_") if part)
        module = f"notifyd_{snake}"
        release = __version__.partition("+")[0]
        words = {
            "kind": kind,
            "name": name,
            "project": snake.replace("_", "-").strip("-"),
            "module": module,
            "Class": camel,
            "ENV": snake.upper(),
            "version": release,
        }
        return cls(kind, name, module, words)

    def filled(self, template: str) -> str:
        """The text of a template."""
        file = resources.files("notifyd.cli").joinpath("scaffold", f"{template}.txt")
        return Template(file.read_text(encoding="utf-8")).substitute(self.words)


def new(name: str, folder: Path, *, is_filter: bool, single_file: bool) -> None:
    """Write a project, or one file, into the folder; NotifydError where something of that name is there already."""
    _check(name, "filter" if is_filter else "channel")
    words = _Words.of(name, "filter" if is_filter else "channel")
    if single_file:
        path = folder / f"{words.words['name'].replace('-', '_')}.py"
        _write({path: words.filled(f"{words.kind}.py")})
        say(f"wrote {path}, which is a plugin as soon as it is in the plugins_dir of your settings; then")
        say(f"  notifyd plugins {name}")
        return
    root = folder / f"notifyd-{words.words['project']}"
    _write({root / path: text for path, text in _project(words)})
    say(f"wrote {root}, a plugin with its tests; next:")
    say(f"  cd {root} && pip install -e '.[test]' && pytest")
    say(f"  notifyd plugins {name}     # found? with which options?")


def _project(words: _Words) -> Iterator[tuple[str, str]]:
    yield "pyproject.toml", words.filled("pyproject.toml")
    yield "README.md", words.filled(f"README-{words.kind}.md")
    yield f"src/{words.module}/__init__.py", words.filled(f"{words.kind}.py")
    yield f"src/{words.module}/py.typed", ""
    yield f"tests/test_{words.name.replace('-', '_')}.py", words.filled(f"test_{words.kind}.py")


def _check(name: str, kind: str) -> None:
    if keyword.iskeyword(name):
        raise WrongUse(f'"{name}" cannot be a name: it is a word of Python itself; try {name}-{kind}')
    if not _NAME.fullmatch(name):
        raise WrongUse(f'"{name}" cannot be a name: lower-case letters, digits, - and _, beginning with a letter')
    registry = discover(None)
    taken = (registry.channels if kind == "channel" else registry.filters).get(name)
    if taken:
        raise WrongUse(f"there is a {kind} called {name} already, from {taken.origin}; choose another name")


def _write(files: dict[Path, str]) -> None:
    for path in files:
        if path.exists():
            raise NotifydError(f"{path} is there already, so nothing was written")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotifydError(f"{error.filename} cannot be written: {(error.strerror or str(error)).lower()}") from None
