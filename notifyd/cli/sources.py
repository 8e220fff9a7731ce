"""`notifyd sources`: where reading each source has come to, and what waits behind."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from notifyd.cli.options import read_settings, with_urls
from notifyd.cli.output import Cell, local, print_page, print_table, say
from notifyd.clock import utc_now
from notifyd.settings import SourceSettings
from notifyd.sources import Lag, SourceError, Standing, lag, open_source, standing
from notifyd.store import reads
from notifyd.store.reads import SourceState

_AT_ONCE = 16  # sources asked at a time: one that does not answer delays no other


@dataclass(frozen=True, slots=True)
class Seen:
    """A source as the state DB, the settings file and the log itself have it; each but one may be missing.

    `unasked` says why the log could not be asked.
    """

    state: SourceState | None
    settings: SourceSettings | None
    standing: Standing | None = None
    lag: Lag | None = None
    unasked: str | None = None

    @property
    def name(self) -> str:
        """As people call it now."""
        return self.settings.name if self.settings else self.state.name if self.state else ""

    @property
    def in_file(self) -> str:
        """Whether the settings file has it, in words."""
        if self.settings is None:
            return "no more"
        return "yes" if self.settings.enabled else "not enabled"


def sources(path: Path, *, as_json: bool) -> None:
    """List the sources that were read, and those of the settings file that were not."""
    settings, now = read_settings(path), utc_now()
    with reads.opened(settings.daemon.state) as db:
        known = {state.source_id: state for state in reads.sources(db)}
    configured = {source.id: source for source in with_urls(settings)}
    pairs = [(known.get(identity), configured.get(identity)) for identity in dict.fromkeys([*known, *configured])]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        seen = list(threads.map(lambda pair: _look(pair[0], pair[1], now), pairs))
    if as_json:
        print_page([_json(each, now) for each in seen])
        return
    print_table(_COLUMNS, [_cells(each, now) for each in seen], empty="no source")
    for each in seen:
        if each.unasked:
            say(f"what waits behind {each.name} cannot be seen here: {each.unasked}")
    _say_set_aside(known.values())


def _look(state: SourceState | None, settings: SourceSettings | None, now: datetime) -> Seen:
    """Ask the log itself, where it was read and still is to be."""
    if state is None:
        return Seen(state, settings)
    try:
        stands = standing(state.cursor)
    except SourceError as error:
        return Seen(state, settings, unasked=str(error))
    if settings is None:
        return Seen(state, settings, stands)
    with closing(open_source(settings)) as source:
        try:
            return Seen(state, settings, stands, lag(source, state.cursor, now))
        except SourceError as error:
            return Seen(state, settings, stands, unasked=None if str(error) == state.error else str(error))


_COLUMNS = (
    "name", "in the file", "last read", "read up to", "dated", "rows behind", "seconds behind", "watched", "gaps",
    "set aside", "error",
)  # fmt: skip


def _cells(seen: Seen, now: datetime) -> tuple[Cell, ...]:
    state = seen.state
    if state is None:
        return (seen.name, seen.in_file, "not read yet", *[None] * (len(_COLUMNS) - 3))
    text, newest, gaps = _stands(seen.standing)
    rows, seconds = _behind(seen.lag, now)
    more = seen.lag is not None and seen.lag.more
    error = f"since {local(state.failing_since)}: {state.error}" if state.error else None
    return (
        seen.name, seen.in_file, state.read_at or "not read yet", text, newest,
        f"more than {rows}" if more else rows, seconds, state.watched, gaps, state.set_aside, error,
    )  # fmt: skip


def _json(seen: Seen, now: datetime) -> dict[str, Any]:
    state: dict[str, Any] = (
        reads.as_json(seen.state)
        if seen.state
        else {**dict.fromkeys(SourceState.__slots__), "source_id": seen.settings and seen.settings.id}
    )
    text, _, gaps = _stands(seen.standing)
    rows, seconds = _behind(seen.lag, now)
    return {
        **state,
        "name": seen.name,
        "in_file": seen.settings is not None,
        "enabled": seen.settings is not None and seen.settings.enabled,
        "read_up_to": text,
        "gaps": gaps,
        "rows_behind": rows,
        "more_behind": seen.lag and seen.lag.more,
        "seconds_behind": seconds,
        "unasked": seen.unasked,
    }


def _stands(found: Standing | None) -> tuple[str | None, datetime | None, int | None]:
    return (found.text, found.newest, found.gaps) if found else (None, None, None)


def _behind(found: Lag | None, now: datetime) -> tuple[int | None, int | None]:
    if found is None:
        return None, None
    waited = found.behind(now)
    return found.rows, None if waited is None else round(waited.total_seconds())


def _say_set_aside(states: Iterable[SourceState]) -> None:
    newest = [(state.name, aside) for state in states for aside in state.newest_set_aside]
    cells = [(name, aside.set_aside_at, aside.key, aside.text) for name, aside in newest]
    print_table(("source", "when", "row", "why"), cells, title="The newest rows that were set aside")
