"""What is counted for whoever watches, in the same transactions as what it counts: a restart forgets nothing.

    source:ID   event:TYPE/SEVERITY   how many were found
    config:ID   attempt:RESULT        how many attempts ended so
                ended:STATE           how many deliveries came to this final state, but for tests
                latency:BOUND         how many attempts took no longer than a bound of BUCKETS, but longer than the one
                                      before; "inf", longer than all; "sum", the milliseconds of all

They are in the books, but no part of what has to balance: their names have a colon.

Reading it costs a few look-ups for each source and config, however much there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from notifyd.model import Event
from notifyd.store import books, lanes, rows
from notifyd.store.database import Database

BUCKETS = (10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)
"""Upper bounds of how long an attempt took, in milliseconds."""

MOST_COUNTED = 10_000
"""Deliveries that wait are counted up to here, so that a flood makes no scrape slow."""

Counts = Mapping[str, int]

_BUCKETS = (*map(str, BUCKETS), "inf")


def count_events(db: Database, source_id: str, events: Iterable[Event]) -> None:
    """Count what was found. Only inside a transaction."""
    counts = Counter(f"event:{event.event_type.value}/{event.severity.value}" for event in events)
    books.add(db, f"source:{source_id}", counts)


def count_attempts(db: Database, attempts: Iterable[tuple[str, str, float]]) -> None:
    """Count attempts that ended: (config id, result, milliseconds). Only inside a transaction."""
    found: dict[str, Counter[str]] = {}
    for config_id, result, took in attempts:
        found.setdefault(config_id, Counter()).update(
            {f"attempt:{result}": 1, f"latency:{_bucket(took)}": 1, "latency:sum": round(took)}
        )
    for config_id, counts in found.items():
        books.add(db, f"config:{config_id}", counts)


def count_ends(db: Database, ends: Iterable[tuple[str, str]]) -> None:
    """Count deliveries that came to a final state: (config id, state). Only inside a transaction."""
    for (config_id, state), number in Counter(ends).items():
        books.add(db, f"config:{config_id}", {f"ended:{state}": number})


def _bucket(milliseconds: float) -> str:
    return next((str(bound) for bound in BUCKETS if milliseconds <= bound), "inf")


# -- reading it --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SourceTally:
    """One source, and what came of its rows."""

    name: str
    rows: Counts  # as the books have them
    events: Mapping[tuple[str, str], int]  # by type and severity
    streaks: int  # that were told and go on


@dataclass(frozen=True, slots=True)
class ConfigTally:
    """One config. `waiting` deliveries are on their way, the first of them since `since`; MOST_COUNTED is the most."""

    name: str
    attempts: Counts  # by result
    ends: Counts  # deliveries by final state
    latency: Sequence[int]  # attempts by bucket, not summed up; the last is beyond all BUCKETS
    latency_sum: int  # milliseconds
    waiting: int
    since: datetime | None
    paused: bool  # its breaker is not closed


@dataclass(frozen=True, slots=True)
class Tally:
    """All of it, as of one moment."""

    sources: list[SourceTally]
    configs: list[ConfigTally]


def read(db: Database) -> Tally:
    """Everything that was counted of what there is now; a config that was deleted is left out."""
    counted = books.read_all(db)
    streaks = dict(db.run("SELECT source_id, COUNT(*) FROM streaks WHERE announced > '' GROUP BY +source_id"))
    sources = db.run("SELECT source_id, name FROM cursors ORDER BY name")
    paused = lanes.open_breakers(db)
    configs = db.run("SELECT id, name FROM notification_configs WHERE deleted_at IS NULL ORDER BY name")
    return Tally(
        [_source(row, streaks.get(row[0], 0), counted) for row in sources],
        [_config(db, config_id, name, counted, config_id in paused) for config_id, name in configs],
    )


def _source(row: rows.Row, streaks: int, counted: Mapping[str, Counts]) -> SourceTally:
    source_id, name = row
    book = counted.get(f"source:{source_id}", {})
    return SourceTally(
        name=name,
        rows=book,
        events={what.partition("/")[::2]: number for what, number in _of(book, "event").items()},
        streaks=streaks,
    )


def _config(db: Database, config_id: str, name: str, counted: Mapping[str, Counts], paused: bool) -> ConfigTally:
    book = counted.get(f"config:{config_id}", {})
    latency = _of(book, "latency")
    waiting, since = _waiting(db, config_id)
    return ConfigTally(
        name=name,
        attempts=_of(book, "attempt"),
        ends=_of(book, "ended"),
        latency=[latency.get(bucket, 0) for bucket in _BUCKETS],
        latency_sum=latency.get("sum", 0),
        waiting=waiting,
        since=since,
        paused=paused,
    )


def _of(book: Counts, kind: str) -> Counts:
    """The counts of one kind, by what they are of."""
    return {what.removeprefix(f"{kind}:"): number for what, number in book.items() if what.startswith(f"{kind}:")}


def _waiting(db: Database, config_id: str) -> tuple[int, datetime | None]:
    """How many deliveries are on their way, and since when the first of them is; by the index alone."""
    ((number, first),) = db.run(
        "SELECT COUNT(*), MIN(seq) FROM (SELECT seq FROM deliveries WHERE config_id = ?"
        f" AND state IN ('pending', 'sending', 'retrying') LIMIT {MOST_COUNTED})",
        [config_id],
    )
    found = db.run("SELECT created_at FROM deliveries WHERE seq = ?", [first]) if first else []
    return number, rows.moment(found[0][0]) if found else None
