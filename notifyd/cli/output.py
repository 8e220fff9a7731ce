"""How answers look: tables for people, JSON for programs, and nothing in either that could drive a terminal."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

LONGEST_CELL = 160
"""The most characters of a cell; JSON has the whole text."""

_LONGEST_FIELD = 1_000
_WORD = 28  # characters of the longest word that is not broken: an id
_TEXT = 16  # of the narrowest column of a text of several words
_INDENT = 2
_GAP = 3  # between columns
_USUAL = 80  # where a terminal does not say how wide it is
_WIDE = 2_000  # columns where no terminal limits them: one row stays one line for grep
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_STYLES = {
    **dict.fromkeys(("sent", "success", "running", "recovered", "balanced"), "green"),
    **dict.fromkeys(("retrying", "retry", "warning", "gathering", "pending", "sending", "held"), "yellow"),
    **dict.fromkeys(("dead", "rejected", "bug", "failure", "error", "critical", "unknown", "unmapped"), "red"),
    **dict.fromkeys(("dropped", "folded", "cancelled", "expired", "ignored"), "dim"),
}

Cell = str | int | float | bool | datetime | None


def print_json(value: object) -> None:
    """A value as JSON. ASCII only, so that it means the same in every terminal and locale."""
    typer.echo(json.dumps(value, indent=2))


def print_page(items: Iterable[Mapping[str, Any]], next_: int | None = None) -> None:
    """A listing as the API gives it."""
    print_json({"items": list(items), "next": next_})


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, title: str = "", empty: str = "") -> None:
    """A table without its empty columns; where it has no rows, only `empty` is said.

    Where the terminal is too narrow for it, each row is one paragraph of names and values.
    """
    lines = [list(row) for row in rows]
    if title and lines:
        heading(title)
    if not lines:
        if empty:
            typer.echo(empty)
        return
    used = [index for index in range(len(columns)) if any(line[index] is not None for line in lines)]
    names, lines = [columns[index] for index in used], [[line[index] for index in used] for line in lines]
    widths = [_narrowest(name, [line[index] for line in lines]) for index, name in enumerate(names)]
    narrow = _INDENT + sum(width + _GAP for width in widths) - _GAP > _console().width
    _print(_paragraphs(names, lines) if narrow else _table(names, lines, widths))


def _narrowest(name: str, cells: Sequence[Cell]) -> int:
    """How narrow a column may be: a text is wrapped between its words, an id, a number or a time is not."""
    texts = [_cell(cell).plain for cell in cells]
    if any(isinstance(cell, str) and " " in text for cell, text in zip(cells, texts, strict=True)):
        return max(min(max(map(len, texts)), _TEXT), *(min(len(word), _WORD) for word in _words(name, *texts)))
    return max(map(len, (*name.split(), *texts)))


def _words(*texts: str) -> list[str]:
    """The words of all of them."""
    return [word for text in texts for word in text.split()]


def _table(names: Sequence[str], lines: Sequence[Sequence[Cell]], widths: Sequence[int]) -> Padding:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for index, name in enumerate(names):
        numbers = all(isinstance(line[index], int | float | None) for line in lines)
        table.add_column(name, justify="right" if numbers else "left", min_width=widths[index], overflow="fold")
    for line in lines:
        table.add_row(*map(_cell, line))
    return Padding(table, (0, 0, 0, _INDENT), expand=False)


def _paragraphs(names: Sequence[str], lines: Sequence[Sequence[Cell]]) -> Padding:
    """Each row as one paragraph behind a bullet."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        pairs = [(name, _cell(value)) for name, value in zip(names, line, strict=True) if value is not None]
        parts = [Text.assemble((f"{name} ", "dim"), text) for name, text in pairs]
        table.add_row("•", Text(" · ").join(parts))
    return Padding(table, (0, 0, 0, _INDENT), expand=False)


def heading(text: str) -> None:
    """The line above a table or a block."""
    _print(Text(f"\n{printable(text)}", style="bold"))


def print_fields(fields: Mapping[str, Cell]) -> None:
    """Names and values, one a line; what has no value is left out."""
    table = Table.grid(padding=(0, _INDENT))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        if value is not None:
            table.add_row(name, _cell(value, longest=_LONGEST_FIELD))
    _print(Padding(table, (0, 0, 0, _INDENT), expand=False))


def say(text: str) -> None:
    """One line to whoever asked; in a terminal, as many as it takes."""
    typer.echo(_wrapped(text, _width(sys.stdout)))


def complain(text: str) -> None:
    """The same on stderr, where $COLUMNS asks for nothing: what is said there is read by programs as well."""
    typer.echo(_wrapped(text, _columns(sys.stderr)), err=True)


def _wrapped(text: str, width: int) -> str:
    """Lines broken between words, the later ones a little further in; its own indent is kept."""
    indent = " " * (len(text) - len(text.lstrip(" ")))
    if width == _WIDE:
        return indent + printable(text)
    lines = textwrap.wrap(
        printable(text),
        width,
        initial_indent=indent,
        subsequent_indent=indent + " " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def local(moment: datetime | None) -> str:
    """A time as people read it: local, to the second, and with its zone."""
    return "–" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def took(milliseconds: float | None) -> str | None:
    """A length of time as people read it."""
    if milliseconds is None:
        return None
    return f"{milliseconds:.0f} ms" if milliseconds < 1_000 else f"{milliseconds / 1_000:.1f} s"


def count(number: int, noun: str) -> str:
    """How many of what: 1 source, 2 sources, 3 deliveries."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun.removesuffix('y')}ies" if noun.endswith("ry") else f"{number} {noun}s"


def printable(text: str) -> str:
    """The text in one line, without anything that a terminal would obey."""
    return _CONTROL.sub(_escaped, " ".join(text.split()))


def cut(text: str, longest: int = LONGEST_CELL) -> str:
    """The text, at most that long."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _cell(value: Cell, longest: int = LONGEST_CELL) -> Text:
    text = cut(_written(value), longest)
    return Text(text, style=_STYLES.get(text, ""))


def _written(value: Cell) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return local(value)
        case str():
            return printable(value)
    return str(value)


def _print(what: RenderableType) -> None:
    """Print it, without the spaces that rich fills lines up with."""
    console = _console()
    with console.capture() as capture:
        console.print(what)
    typer.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _console() -> Console:
    """Where answers go. Nothing in a text is markup, and nothing is wrapped where no terminal asks for it."""
    console = Console(markup=False, emoji=False, highlight=False)
    console.width = _width(sys.stdout)
    return console


def _width(stream: TextIO) -> int:
    """The columns of the terminal; where there is none, those that $COLUMNS asks for."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return _columns(stream)


def _columns(stream: TextIO) -> int:
    return (os.get_terminal_size(stream.fileno()).columns or _USUAL) if stream.isatty() else _WIDE
