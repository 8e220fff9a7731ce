"""Where reading goes on when the settings of a known source name another database, log, key or order.

The cursor keeps what it is a place in. While that is as it was, the place counts. Otherwise, of the same order and key:

    the last row that was read is there        it is read on behind that row

else, by the time of the last row that was read:

    only the order is another                  from a day before: what was told is known by its id
    the key, or the whole log is another       what is dated later, in a new epoch, as a key may mean another row
    rows have no time                          refused: a person has to say where (`notifyd sources rewind`)
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from notifyd.settings import SourceSettings, scheme_of
from notifyd.sources.errors import SourceError
from notifyd.sources.place import WAITING, Of, Place
from notifyd.sources.strategies import Strategy
from notifyd.sources.sync_log import SyncLog

OVERLAP: Final = timedelta(days=1)
"""How far back reading goes where only its order is another: a transaction may have begun long before its end."""

_WORDS: Final = Of("url", "table or query", "columns.key")


class Resumed(NamedTuple):
    """Where it is read on. `begins` is true where rows before it may be running that nobody watches yet."""

    place: Place
    begins: bool
    note: str | None


def of(settings: SourceSettings) -> Of:
    """What the settings read. A user or password that changes names no other database."""
    url = settings.url.reveal()
    parts = urlsplit(url)
    where = (scheme_of(url), parts.hostname or "", parts.port or 0, parts.path)
    key = settings.columns.key
    return Of(_mark(where), _mark((settings.table, settings.query)), _mark((key.column.lower(), key.sql, key.parts)))


def resume(
    log: SyncLog, strategy: Strategy, settings: SourceSettings, here: Of, place: Place, now: datetime
) -> Resumed | None:
    """Where a source goes on whose settings have changed; None where the place counts as it is.

    `here` is what the settings read now.

    Raises SourceError where nothing says where that is.
    """
    kept = place.of
    if place.strategy == WAITING or (place.strategy != strategy.name and place.untouched):
        return Resumed(strategy.since(log, place.newest, now), begins=True, note=None)
    changed = [word for word, one, other in zip(_WORDS, here, kept or here, strict=True) if one != other]
    if place.strategy == strategy.name and (not changed or place.untouched):
        return None
    if place.strategy == strategy.name and _WORDS.key not in changed and strategy.holds(log, place, now):
        return Resumed(place, begins=False, note=f"{_its(changed)}; the last row that was read is there: it is read on")
    if not log.selection.dated or place.newest is None:
        raise SourceError(_nowhere(settings.name, strategy, place, changed))
    since = place.newest if changed else place.newest - OVERLAP
    anew = replace(strategy.since(log, since, now), epoch=place.epoch + bool(changed), newest=place.newest)
    said = _its(changed) if changed else f"it was read by {place.strategy} so far, and now is by {strategy.name}"
    return Resumed(anew, begins=True, note=f"{said}; what is dated {since:%Y-%m-%d %H:%M:%S} UTC or later is read")


def _its(changed: list[str]) -> str:
    return f"its {' and '.join(changed)} changed"


def _nowhere(name: str, strategy: Strategy, place: Place, changed: list[str]) -> str:
    said = _its(changed) if changed else f"it was read by {place.strategy} so far, and now would be by {strategy.name}"
    return (
        f"{said}, and nothing says where to go on, as its rows have no time: restore that, or say where with "
        f"`notifyd sources rewind {name} --to …` (now, beginning, or a key)"
    )


def _mark(about: object) -> str:
    return hashlib.blake2b(repr(about).encode(), digest_size=4).hexdigest()
