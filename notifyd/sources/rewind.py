"""Puts a cursor elsewhere, as a person asks: to the log's beginning or end, back in time, or before a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from notifyd.settings import SourceSettings, parse_duration
from notifyd.sources.errors import SourceError
from notifyd.sources.gaps import Gap
from notifyd.sources.place import Place
from notifyd.sources.resume import of
from notifyd.sources.strategies import Strategy
from notifyd.sources.sync_log import SyncLog

_KEY: Final = "key:"
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")


class Key(NamedTuple):
    """The key of a row."""

    key: str


Target = Literal["now", "beginning"] | timedelta | datetime | Key
"""Where to: behind the last row, before the first, so long back, to a time, or before a row."""


def target_of(text: str, settings: SourceSettings) -> Target:
    """What a person writes: now, beginning, 24h, 2026-11-25 (T12:00, with a zone or in the source's), or a row's key.

    `key:…` is a key whatever it looks like.
    """
    if text == "now":
        return "now"
    if text == "beginning":
        return "beginning"
    if text.startswith(_KEY):
        return Key(text.removeprefix(_KEY))
    try:
        return parse_duration(text)
    except ValueError:
        return _moment(text, settings) or Key(text)


def rewound(
    log: SyncLog, strategy: Strategy, settings: SourceSettings, place: Place, to: Target, now: datetime
) -> Place:
    """The place that was asked for. Raises SourceError where the log has no such place.

    The epoch stays, so that what was told is known by its id; unless the keys that it knows mean other rows now.
    """
    found = _place(log, strategy, to, now)
    same = place.of in (None, of(settings))
    return replace(
        found,
        epoch=place.epoch + (not same),
        newest=found.newest or (place.newest if same and to != "beginning" else None),
        gaps=found.gaps or (_below(place.gaps, found.at) if same and place.strategy == strategy.name else ()),
        read_at=found.read_at or place.read_at,
    )


def _place(log: SyncLog, strategy: Strategy, to: Target, now: datetime) -> Place:
    if isinstance(to, Key):
        where, parameters = log.having("key", [to.key])
        rows = log.newest(strategy.order, 1, where, parameters)
        if not rows:
            raise SourceError(f"it has no row with the key {to.key}")
        return strategy.before(log, rows[0], now)
    if isinstance(to, timedelta | datetime):
        if not log.selection.dated:
            raise SourceError("no time is mapped, so it cannot be read from a time: map columns.occurred_at")
        return strategy.since(log, now - to if isinstance(to, timedelta) else to, now)
    return strategy.begin(log, to, now)


def _below(gaps: Sequence[Gap], at: int | None) -> tuple[Gap, ...]:
    """The gaps up to a place; those behind it are found again."""
    if at is None:
        return ()
    cut = [replace(gap, ranges=tuple((a, min(b, at)) for a, b in gap.ranges if a <= at)) for gap in gaps]
    return tuple(gap for gap in cut if gap.ranges)


def _moment(text: str, settings: SourceSettings) -> datetime | None:
    if not _DATE.match(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=settings.timezone)
