"""Reads [[sources]]: each with its preset beneath."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from notifyd.api import Secret
from notifyd.settings.locate import KeyPath
from notifyd.settings.model import SourceSettings
from notifyd.settings.presets import merge, preset_names, read_preset
from notifyd.settings.report import Report
from notifyd.settings.urls import scheme_of, sqlite_path, sqlite_url
from notifyd.settings.wording import did_you_mean

_SOURCES = ("sources",)


def read_sources(report: Report, folder: Path) -> tuple[SourceSettings, ...]:
    """The sources, as far as they are right. Relative paths start at `folder`."""
    report.check(list[dict[str, Any]], report.document.data.get("sources", []), _SOURCES)
    report.check_unique(_SOURCES, "name")
    _check_ids(report)
    sources = [_read(report, path, table) for path, table in report.document.tables(_SOURCES)]
    return tuple(_absolute(source, folder) for source in sources if source is not None)


def _read(report: Report, path: KeyPath, table: dict[str, Any]) -> SourceSettings | None:
    preset = _preset(report, path, table)
    merged = merge(preset or {}, table)
    merged.setdefault("columns", {})  # so that each required column is missed by its own name
    if preset is not None:
        _check_rows(report, path, merged)
    source: SourceSettings | None = report.check(SourceSettings, merged, path, partial=preset is None)
    return source


def _preset(report: Report, path: KeyPath, table: dict[str, Any]) -> dict[str, Any] | None:
    """The preset's table; empty where none is asked for, and None where there is no such preset."""
    name = table.get("preset", "")
    if name == "":
        return {}
    if name in (names := preset_names()):
        return read_preset(name)
    if isinstance(name, str):
        hint = did_you_mean(name, names) or f"; there are {', '.join(names)}"
        report.add((*path, "preset"), f'unknown preset "{name}"{hint}')
    return None


def _check_rows(report: Report, path: KeyPath, table: dict[str, Any]) -> None:
    """A source reads one thing, and its rows are what `rows` says."""
    if "table" in table and "query" in table:
        report.add((*path, "query"), "table and query are both given; keep one of them")
    elif not {"table", "query"} & table.keys():
        report.add(
            path, f'reads nothing yet: expected preset = "…" ({", ".join(preset_names())}), table = "…" or query = "…"'
        )
    columns = table["columns"]
    if table.get("rows") == "records" and isinstance(columns, dict) and "run_id" not in columns:
        report.add((*path, "rows"), '"records" share a run id, and columns.run_id is not given')


def _check_ids(report: Report) -> None:
    """An id is the source's name unless it is given. Two equal names are told as such, not again here."""
    seen: dict[Any, KeyPath] = {}
    for path, table in report.document.tables(_SOURCES):
        key = "id" if "id" in table else "name"
        value = table.get(key)
        first = seen.setdefault(value if isinstance(value, str) else path, (*path, key))
        if first != (*path, key) and not first[-1] == key == "name":
            line = report.document.line(first)
            report.add((*path, key), f'"{value}" is already the {first[-1]} of the source on line {line}')


def refuse_as_state(report: Report, sources: Iterable[SourceSettings], state: Path) -> None:
    """A sync log is only ever read; notifyd's tables are in a file of their own."""
    written = report.document.value(("daemon", "state")) is not None
    for source in sources:
        if _is_sqlite(source) and _is_same(sqlite_path(source.url.reveal()), state):
            if written:
                report.add(
                    ("daemon", "state"), f'is the sync log of the source "{source.name}"; give a file of its own'
                )
            else:
                text = "is the file that notifyd keeps its state in, as daemon.state does not say otherwise"
                report.add(_place_of(report, source), text)


def _is_same(one: Path, other: Path) -> bool:
    """Whether both are one file, or will be."""
    try:
        return one.resolve() == other.resolve() or one.samefile(other)
    except OSError:
        return False


def _place_of(report: Report, source: SourceSettings) -> KeyPath:
    tables = report.document.tables(_SOURCES)
    return next((*path, "url") for path, table in tables if table.get("name") == source.name)


def _is_sqlite(source: SourceSettings) -> bool:
    return source.url.resolved and scheme_of(source.url.reveal()) == "sqlite"


def _absolute(source: SourceSettings, folder: Path) -> SourceSettings:
    if not _is_sqlite(source):
        return source
    url = sqlite_url(folder / sqlite_path(source.url.reveal()))
    return source.model_copy(update={"url": Secret(url)})
