"""`notifyd check`: is the settings file right, can its sources be read, and are their rows understood?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from notifyd import unwatched
from notifyd.cli import records
from notifyd.cli.output import Cell, count, heading, print_json, print_table, say
from notifyd.clock import utc_now
from notifyd.errors import NotifydError
from notifyd.model import Event, Record, Status
from notifyd.settings import Settings, SettingsError, SourceSettings, load, sqlite_path
from notifyd.sources import About, SetAside, SourceError, open_source
from notifyd.store import audit, cursors, reads
from notifyd.store.database import StoreError

ROWS_SHOWN = 5
"""How many of a source's newest rows are shown."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one source. `statuses`: raw value → how often, and what it means."""

    source: SourceSettings
    rows: list[tuple[dict[str, Any], Record | SetAside]] = field(default_factory=list)
    statuses: Mapping[str | None, tuple[int, Status]] = field(default_factory=dict)
    about: About | None = None
    error: str | None = None


def check(path: Path, *, as_json: bool) -> None:
    """Check everything. Raises NotifydError where a source cannot be read."""
    settings = _load(path, as_json=as_json)
    looks = [_look(source) for source in settings.sources if source.enabled]
    warnings = [*_setup(settings), *_rows(looks), *map(str, settings.registry.problems), *_known(settings)]
    if as_json:
        print_json(_json(settings, looks, warnings))
    else:
        _show(settings, looks, warnings)
    if errors := [look.error for look in looks if look.error]:
        raise NotifydError("\n".join(errors))


def _load(path: Path, *, as_json: bool) -> Settings:
    try:
        return load(path, outside_unit=True)
    except SettingsError as error:
        if as_json:
            print_json({"file": str(path), "problems": [problem._asdict() for problem in error.problems]})
        raise


def _look(source: SourceSettings) -> Look:
    now = utc_now()
    with closing(open_source(source)) as opened:
        try:
            return Look(source, opened.newest(ROWS_SHOWN, now), opened.raw_statuses(), opened.about(None, utc_now()))
        except SourceError as error:
            return Look(source, error=str(error))


# -- what is warned about ----------------------------------------------------------------------------


def _setup(settings: Settings) -> Iterator[str]:
    if not settings.sources:
        yield "there is no [[sources]] yet, so nothing is read"
    elif not any(source.enabled for source in settings.sources):
        yield "no [[sources]] is enabled, so nothing is read"
    if not settings.notifications:
        yield "there is no [[notifications]] yet, so nobody is told of anything"
    elif not any(notification.enabled for notification in settings.notifications):
        yield "no [[notifications]] is enabled, so nobody is told of anything"
    if settings.http.public_url and not settings.http.listen:
        yield 'http.public_url: links lead nowhere, as the daemon does not listen (listen = "")'


def _rows(looks: list[Look]) -> Iterator[str]:
    for look in looks:
        for warning in look.about.warnings if look.about else ():
            yield f"source {look.source.name}: {warning}"
        for raw, (rows, status) in look.statuses.items():
            if status is Status.UNMAPPED:
                yield f"source {look.source.name}: {records.unmapped(raw, rows)}; {records.map_it(raw)}"
        for _, row in look.rows:
            if isinstance(row, SetAside):
                yield f"source {look.source.name}: row {row.key} would be set aside: {row.text}"


def _known(settings: Settings) -> Iterator[str]:
    """Sources that seem to be renamed, and events that every config dropped, where a daemon has run already."""
    if not sqlite_path(settings.daemon.state).is_file():
        return
    try:
        with reads.opened(settings.daemon.state) as db:
            total, newest, places = audit.count_untold(db), audit.untold(db), cursors.places(db)
    except StoreError as error:
        yield str(error)
        return
    for new, old in unwatched.renamed(settings.sources, places):
        yield unwatched.said(new, old)
    if total:
        yield f"{count(total, 'event')} told to nobody, as every config dropped it; the newest: {_list(newest)}"


def _list(events: list[Event]) -> str:
    return ", ".join(f"{event.title} (`notifyd why {event.id}`)" for event in events)


# -- what is shown -----------------------------------------------------------------------------------


def _show(settings: Settings, looks: list[Look], warnings: list[str]) -> None:
    for look in looks:
        if not look.error:
            _show_source(look)
    for note in settings.not_checked:
        say(f"note: {note}")
    for warning in warnings:
        say(f"warning: {warning}")
    parts = (
        count(len(settings.sources), "source"),
        count(len(settings.notifications), "notification config"),
        count(len(warnings), "warning"),
    )
    unread = sum(look.error is not None for look in looks)
    right = f"is right, but {count(unread, 'source')} cannot be read" if unread else "is right"
    say(f"{settings.path} {right}: {', '.join(parts)}")


def _show_source(look: Look) -> None:
    if look.about:
        heading(f"Source {look.source.name}: read {look.about.text}")
    print_table(
        ("row", "status", "schedule", "run", "when", "message"),
        [_row_cells(look.source, raw, row) for raw, row in look.rows],
        title=f"Source {look.source.name}: how its newest rows are understood",
        empty=f"source {look.source.name}: no rows yet",
    )
    print_table(
        ("status in the log", "rows", "means"),
        [("NULL" if raw is None else raw, rows, status.value) for raw, (rows, status) in look.statuses.items()],
        title=f"Source {look.source.name}: the statuses of its newest rows",
    )


def _row_cells(source: SourceSettings, raw: Mapping[str, Any], row: Record | SetAside) -> tuple[Cell, ...]:
    if isinstance(row, SetAside):
        return (row.key, "set aside", None, None, None, row.text)
    status = f"{_raw_status(source, raw)}{row.status.value}"
    return (row.key, status, records.schedule_name(row), row.run_id, records.moment(row), row.message)


def _raw_status(source: SourceSettings, raw: Mapping[str, Any]) -> str:
    """What the log says, where a whole column says it."""
    column = source.columns.status
    return "" if column.json else f"{raw.get(column.column)} → "


def _json(settings: Settings, looks: list[Look], warnings: list[str]) -> dict[str, Any]:
    return {
        "file": str(settings.path),
        "problems": [],
        "sources": [_source_json(look) for look in looks],
        "not_checked": [problem._asdict() for problem in settings.not_checked],
        "warnings": warnings,
    }


def _source_json(look: Look) -> dict[str, Any]:
    return {
        "name": look.source.name,
        "error": look.error,
        "about": look.about and _about_json(look.about),
        "rows": [row._asdict() if isinstance(row, SetAside) else records.record_json(row) for _, row in look.rows],
        "statuses": [
            {"value": raw, "count": rows, "status": status.value} for raw, (rows, status) in look.statuses.items()
        ],
    }


def _about_json(about: About) -> dict[str, Any]:
    return {
        "strategy": about.strategy,
        "text": about.text,
        "clock_ahead_seconds": None if about.clock is None else round(about.clock.total_seconds(), 1),
    }
