"""What the terminal shows. Without one it is the same text, plain: no colours, no spinner, no pauses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from notifyd.demo.settings_file import CONFIGS

_READING = 1.5  # seconds that a reader gets between two steps
_NAME = max(map(len, CONFIGS))
_INDENT = " " * 4


class Terminal:
    """Prints the story to standard output."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.where = "the start"  # in the story, for whoever asks when it goes wrong
        self._steps = 0

    def headline(self, text: str) -> None:
        """A line that stands out."""
        self.console.print(Text(text, "bold"), "", sep="\n")

    def step(self, title: str) -> None:
        """The heading of the next step."""
        self._steps += 1
        self.where = f"step {self._steps}, “{title}”"
        self.console.print("", Text.assemble((f" {self._steps} ", "bold reverse"), " ", (title, "bold")), sep="\n")

    def heading(self, title: str) -> None:
        """The heading of what is no step."""
        self.where = f"“{title}”"
        self.console.print("", Text(title, "bold"), sep="\n")

    def say(self, text: str, style: str = "") -> None:
        """A line of the story."""
        self.console.print(Text((_INDENT + text).rstrip(), style))

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Lines of two parts, the second ones in a column."""
        known = list(pairs)
        width = max(len(first) for first, _ in known)
        for first, second in known:
            self.say(f"{first:{width}}   {second}")

    def failed(self, what: str, error: str) -> None:
        """A sync failed."""
        self._fact(Text.assemble(_INDENT, ("✗ ", "red"), (what, "bold"), "  ", (error, "red")))

    def went_well(self, what: str, more: str = "") -> None:
        """Something went well."""
        self.console.print(Text.assemble(_INDENT, ("✓ ", "green"), (what, "bold"), more and f"  {more}"))

    def told(self, config: str, seconds: float, title: str) -> None:
        """A config was told something, so long after it happened."""
        self._line("→", "green", config, duration(seconds), Text(title))

    def attempted(self, config: str, seconds: float, number: int, status: int) -> None:
        """An attempt arrived at a config's endpoint, and was answered with this status."""
        mark, style = ("→", "green") if status < 300 else ("✗", "yellow")
        self._line(mark, style, config, duration(seconds), Text(f"attempt {number} is answered {status}"))

    def untold(self, config: str, why: str) -> None:
        """A config was not told, and why."""
        self._line("·", "dim", config, "", Text(f"not told: {why}", "dim"))

    def _line(self, mark: str, style: str, config: str, when: str, text: Text) -> None:
        self._fact(Text.assemble(_INDENT, (f"{mark} ", style), f"{config:{_NAME}}  {when:>6}  ", text))

    def _fact(self, text: Text) -> None:
        """One line, cut where a terminal is too narrow for it."""
        if self.console.is_terminal:
            self.console.print(text, no_wrap=True, overflow="ellipsis", soft_wrap=False)
        else:
            self.console.print(text)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A small table: a name, then numbers."""
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        for index, title in enumerate(header):
            table.add_column(title, justify="right" if index else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        self.console.print(Padding.indent(table, len(_INDENT)))

    def waiting(self, text: str) -> contextlib.AbstractContextManager[object]:
        """Show that something is awaited, while the context is open."""
        if not self.console.is_terminal:
            return contextlib.nullcontext()
        return self.console.status(Text(text, "dim"))

    async def pause(self) -> None:
        """Give a reader time. Nothing depends on it."""
        if self.console.is_terminal:
            await asyncio.sleep(_READING)


def duration(seconds: float) -> str:
    """A duration as a person says it: 87 ms, 3.1 s."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
