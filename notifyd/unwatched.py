"""Sources that are not read any more: nothing of them may stay open for ever without a word.

removed      what is open is closed, and whoever was told of it is told that it is not watched any more. What was read
             and what failed in a row is kept, so that a source that comes back goes on where it was
disabled     a pause: streaks and stuck runs stay open, and go on with it. Only that it cannot be read is closed
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import structlog

from notifyd.core import notices
from notifyd.core.plan import Recipient
from notifyd.model import Finding
from notifyd.settings import SourceSettings
from notifyd.sources import same_log
from notifyd.store import conditions, cursors
from notifyd.store.conditions import Condition
from notifyd.store.thread import StoreThread

log = structlog.get_logger("notifyd")


class _Ending(NamedTuple):
    source_id: str
    name: str
    findings: list[Finding]
    still_open: int


async def close(
    sources: Sequence[SourceSettings],
    recipients: Sequence[Recipient],
    store: StoreThread,
    now: datetime,
    found: Callable[[], None],
) -> None:
    """Close what nobody watches any more. `found` is called when something was put in the outbox."""
    for ending in _endings(sources, await store(conditions.listing), now):
        if ending.findings:
            await store(conditions.close, ending.source_id, ending.findings, recipients, now)
            found()
        log.warning(
            "a source is not read any more, and something of it was open",
            source=ending.name,
            closed=len(ending.findings),
            still_open=ending.still_open,
        )
    for new, old in renamed(sources, await store(cursors.places)):
        log.warning(said(new, old), source=new)


def renamed(sources: Sequence[SourceSettings], places: Sequence[tuple[str, str, str]]) -> Iterator[tuple[str, str]]:
    """(name, id of the old one): sources that were never read, and read what one read that is in the file no more.

    `places` are (source id, name, cursor) of all that were ever read.
    """
    known, configured = {place[0] for place in places}, {source.id for source in sources}
    for source in sources:
        for source_id, _, cursor in places if source.id not in known else ():
            if source_id not in configured and same_log(cursor, source):
                yield source.name, source_id


def said(new: str, old: str) -> str:
    """What a person should know of a source that seems to have been renamed."""
    return (
        f'{new} reads what "{old}" read, which is in the file no more: if it was renamed, id = "{old}" lets it go on '
        "where that was; as it is, it begins at its start"
    )


def _endings(sources: Sequence[SourceSettings], listed: Sequence[Condition], now: datetime) -> Iterator[_Ending]:
    """Of each source that is not read and of which something is open."""
    read = {source.id for source in sources if source.enabled}
    paused = {source.id for source in sources} - read
    for source_id in dict.fromkeys(one.source_id for one in listed if one.source_id not in read):
        mine = [one for one in listed if one.source_id == source_id]
        closed = [one for one in mine if source_id not in paused or conditions.of_reading(one)]
        findings = [_finding(one, now, paused=source_id in paused) for one in closed]
        yield _Ending(source_id, mine[0].source, findings, len(mine) - len(closed))


def _finding(condition: Condition, now: datetime, *, paused: bool) -> Finding:
    event = notices.no_longer_watched(condition.event, condition.source, now, paused=paused)
    return Finding(event, condition=condition.event.id)
