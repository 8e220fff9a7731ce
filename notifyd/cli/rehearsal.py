"""What reading a log from a cursor would come to: the very same read and fold, of which nothing is kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime

from notifyd.core.detect import detect
from notifyd.core.memory import Detected, Memory
from notifyd.core.rules import Origin, Rules
from notifyd.model import Record, Status
from notifyd.sources import Source
from notifyd.store import memory, reads
from notifyd.store.database import Database


@dataclass(slots=True)
class Rehearsal:
    """The rows that would be read, how many of them failed, and by type the events that were not found before."""

    rows: int = 0
    failures: int = 0
    new: Counter[str] = field(default_factory=Counter)


def rehearse(
    db: Database, source: Source, cursor: str, rules: Rules, origin: Origin, now: datetime, began: datetime
) -> Rehearsal:
    """Read and fold from the cursor to the end of the log. What time alone brings, such as a reminder, is left out.

    `began` is when the source was first read: what had ended by then is watched, and was told to nobody.
    Raises SourceError where the log cannot be read.
    """
    found, remembered = Rehearsal(), Memory()
    while True:
        batch = source.read(cursor, now)
        here = replace(origin, epoch=batch.epoch)
        _recall(db, remembered, batch.records, here, began)
        detected = detect(remembered, batch.records, rules, here)
        _take(remembered, detected)
        _count(db, found, detected)
        found.rows += batch.rows
        found.failures += sum(record.status is Status.FAILURE for record in batch.records)
        cursor = batch.cursor
        if batch.at_end:
            return found


def _recall(db: Database, remembered: Memory, records: list[Record], origin: Origin, began: datetime) -> None:
    """What the state DB remembers of these records, beneath what was changed here."""
    known = memory.load(db, origin.identity, records, None, origin)
    remembered.runs = {**known.runs, **remembered.runs}
    remembered.streaks = {**known.streaks, **remembered.streaks}
    told = {key: watch for key, watch in known.watched.items() if not watch.ended or watch.since > began}
    remembered.watched = {**told, **remembered.watched}


def _take(remembered: Memory, detected: Detected) -> None:
    after = remembered.after(detected)
    remembered.runs, remembered.streaks, remembered.watched = after.runs, after.streaks, after.watched


def _count(db: Database, found: Rehearsal, detected: Detected) -> None:
    events = {finding.event.id: finding.event for finding in detected.findings}
    known = reads.known_events(db, list(events))
    found.new += Counter(event.event_type.value for identity, event in events.items() if identity not in known)
