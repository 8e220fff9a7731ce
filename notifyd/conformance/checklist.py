"""The pytest plugin of the conformance kit: after a run it prints what each plugin does right, as a checklist.

    notifyd: the channel pager
      ✓ notifyd accepts the class: name, Options, signatures, version
      ✗ 408, 425, 429 and 5xx are tried again
          HTTP 503 may work later, so raise Retry; it raised Reject("no")
      – Retry-After is handed on (skipped: it does not speak HTTP)

pytest finds it by its entry point wherever notifyd is installed; without a test of the kit it says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pytest

_KEY = "notifyd conformance"
_WORST_FIRST = ("failed", "error", "passed", "skipped")
_MARKS = {"passed": "✓", "failed": "✗", "error": "✗", "skipped": "–"}


class _Line(NamedTuple):
    """One check of one plugin, and what came of it."""

    subject: str
    number: int
    label: str
    outcome: str
    detail: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note on each check of the kit whose it is, and what it is about."""
    for number, item in enumerate(items):
        subject = getattr(getattr(item, "cls", None), "conformance_subject", None)
        if subject is not None:
            item.user_properties.append((_KEY, [subject(), number, _label(item)]))


def _label(item: pytest.Item) -> str:
    doc: str = getattr(getattr(item, "function", None), "__doc__", None) or ""
    return doc.strip().partition("\n")[0] or item.name.removeprefix("test_").replace("_", " ")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the checklists."""
    lines = sorted(_lines(terminalreporter.stats))
    for subject in dict.fromkeys(line.subject for line in lines):
        terminalreporter.write_sep("-", f"notifyd: {subject}")
        for line in _one_each([line for line in lines if line.subject == subject]):
            _print(terminalreporter, line)


def _lines(stats: dict[str, list[Any]]) -> Iterator[_Line]:
    for outcome in _WORST_FIRST:
        for report in stats.get(outcome, ()):
            for key, noted in getattr(report, "user_properties", ()):
                if key == _KEY:
                    yield _Line(noted[0], noted[1], noted[2], outcome, _detail(report, outcome))


def _detail(report: Any, outcome: str) -> str:
    if outcome == "skipped":
        return str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
    return str(report.longreprtext).strip() if outcome in ("failed", "error") else ""


def _one_each(lines: Iterable[_Line]) -> Iterator[_Line]:
    """A check with parameters is one line, with the worst that came of it."""
    for label, same in _by_label(lines).items():
        worst = min(same, key=lambda line: _WORST_FIRST.index(line.outcome))
        details = dict.fromkeys(line.detail for line in same if line.outcome == worst.outcome and line.detail)
        yield worst._replace(label=label, detail="\n".join(details))


def _by_label(lines: Iterable[_Line]) -> dict[str, list[_Line]]:
    found: dict[str, list[_Line]] = {}
    for line in lines:
        found.setdefault(line.label, []).append(line)
    return found


def _print(terminal: Any, line: _Line) -> None:
    color = {"passed": {"green": True}, "skipped": {"yellow": True}}.get(line.outcome, {"red": True})
    aside = f" (skipped: {line.detail})" if line.outcome == "skipped" and line.detail else ""
    terminal.write_line(f"  {_MARKS[line.outcome]} {line.label}{aside}", **color)
    for detail in line.detail.splitlines() if line.outcome in ("failed", "error") else ():
        terminal.write_line(f"      {detail}", **color)
