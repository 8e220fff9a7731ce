"""`notifyd history`, `deliveries` and `sources`: what the state DB holds, as tables."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from notifyd.cli.options import State, read_settings
from notifyd.cli.output import Cell, local, print_page, print_table, say, took
from notifyd.settings import SourceSettings
from notifyd.store import reads
from notifyd.store.reads import Attempt, Delivery, Page, SourceState

_NOT_READ_YET = "not read yet"


def history(
    path: Path,
    config_name: str | None,
    severity: str | None,
    connector: str | None,
    *,
    failed: bool,
    limit: int,
    before: int | None,
    as_json: bool,
) -> None:
    """List the attempts, newest first."""
    with reads.opened(read_settings(path).daemon.state) as db:
        page = reads.history(
            db,
            config=config_name,
            severity=severity,
            connector=connector,
            failed=failed,
            before=before,
            limit=limit,
        )
    if as_json:
        print_page(map(reads.as_json, page.items), page.next)
        return
    print_table(ATTEMPT_COLUMNS, map(attempt_cells, page.items), empty="no attempts")
    _say_more(page)


def deliveries(
    path: Path, state: State | None, config_name: str | None, *, limit: int, before: int | None, as_json: bool
) -> None:
    """List the deliveries, newest first."""
    with reads.opened(read_settings(path).daemon.state) as db:
        page = reads.deliveries(db, state=state, config=config_name, before=before, limit=limit)
    if as_json:
        print_page(map(reads.as_json, page.items), page.next)
        return
    print_table(DELIVERY_COLUMNS, map(delivery_cells, page.items), empty="no deliveries")
    _say_more(page)


def sources(path: Path, *, as_json: bool) -> None:
    """List the sources that were read, and those of the settings file that were not."""
    settings = read_settings(path)
    with reads.opened(settings.daemon.state) as db:
        known = reads.sources(db)
    configured = {source.id: source for source in settings.sources}
    new = [source for identity, source in configured.items() if identity not in {state.source_id for state in known}]
    if as_json:
        read = [_source_json(state, configured.get(state.source_id)) for state in known]
        print_page([*read, *map(_new_source_json, new)])
        return
    cells = [_source_cells(state, configured.get(state.source_id)) for state in known]
    print_table(_SOURCE_COLUMNS, [*cells, *map(_new_source_cells, new)], empty="no source")
    _say_set_aside(known)


ATTEMPT_COLUMNS = (
    "started", "config", "severity", "title", "count", "try", "result", "HTTP", "took", "error", "delivery",
)  # fmt: skip


def attempt_cells(attempt: Attempt) -> tuple[Cell, ...]:
    """An attempt as a row of ATTEMPT_COLUMNS."""
    return (
        attempt.started_at, attempt.config_name, attempt.severity, attempt.title, attempt.count, attempt.attempt,
        attempt.result or "under way", attempt.status_code, took(attempt.duration_ms), attempt.error,
        attempt.delivery_id,
    )  # fmt: skip


DELIVERY_COLUMNS = (
    "created", "config", "state", "reason", "title", "count", "tries", "due or ended", "error", "delivery",
)  # fmt: skip


def delivery_cells(delivery: Delivery) -> tuple[Cell, ...]:
    """A delivery as a row of DELIVERY_COLUMNS."""
    return (
        delivery.created_at, delivery.config_name, delivery.state, delivery.reason, delivery.title, delivery.count,
        delivery.attempts, delivery.finished_at or delivery.due_at, delivery.error, delivery.id,
    )  # fmt: skip


_SOURCE_COLUMNS = ("name", "in the file", "last read", "at the end", "cursor", "epoch", "watched", "set aside", "error")


def _source_cells(state: SourceState, source: SourceSettings | None) -> tuple[Cell, ...]:
    error = f"since {local(state.failing_since)}: {state.error}" if state.error else None
    return (
        source.name if source else state.name, _in_file(source), state.read_at or _NOT_READ_YET, state.at_end,
        state.cursor, state.epoch, state.watched, state.set_aside, error,
    )  # fmt: skip


def _new_source_cells(source: SourceSettings) -> tuple[Cell, ...]:
    nothing = [None] * (len(_SOURCE_COLUMNS) - 3)
    return (source.name, _in_file(source), _NOT_READ_YET, *nothing)


def _in_file(source: SourceSettings | None) -> str:
    if source is None:
        return "no more"
    return "yes" if source.enabled else "not enabled"


def _source_json(state: SourceState, source: SourceSettings | None) -> dict[str, Any]:
    return {**reads.as_json(state), "in_file": source is not None, "enabled": source is not None and source.enabled}


def _new_source_json(source: SourceSettings) -> dict[str, Any]:
    nothing = {field.name: None for field in fields(SourceState)}
    return {**nothing, "source_id": source.id, "name": source.name, "in_file": True, "enabled": source.enabled}


def _say_set_aside(states: list[SourceState]) -> None:
    newest = [(state.name, aside) for state in states for aside in state.newest_set_aside]
    cells = [(name, aside.set_aside_at, aside.key, aside.text) for name, aside in newest]
    print_table(("source", "when", "row", "why"), cells, title="The newest rows that were set aside")


def _say_more(page: Page[Any]) -> None:
    if page.next is not None:
        say(f"older ones: --before {page.next}")
