"""Whether the books balance: what was read, found, planned and delivered, and where it all is now.

    a source   read     = success + warning + ignored + unmapped + open + failure + set_aside
               failure  = first_errors + counted
               open     = watched
    a config   offered  = dropped + folded + held + planned
               planned + closing + tests  = the events in its deliveries, by their state, + pruned

Closing events and tests skip the filters, so they are never offered, and are counted apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from notifyd.core.streaks import shown_run
from notifyd.model import Event, Streak
from notifyd.store import books, lanes, rows
from notifyd.store.database import Database
from notifyd.store.lanes import LaneState
from notifyd.store.reads import NAME_OF_CONFIG, Attempt, SourceState, history, snapshot, sources

ROW_ENDS = ("success", "warning", "ignored", "unmapped", "open", "failure", "set_aside")
"""What a row that was read comes to."""

EVENT_ENDS = ("dropped", "folded", "held", "planned")
"""What an event that was offered to a config comes to."""

STATES = ("gathering", "pending", "sending", "retrying", "sent", "dead", "expired", "cancelled")
"""The states of a delivery, from the first to the last."""

_STREAKS_SHOWN = 50
_ERRORS_SHOWN = 5
_UNTOLD_SHOWN = 5

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SourceBook:
    """What the rows of one source came to. `watched` are its rows that are looked at until they end."""

    source_id: str
    name: str
    counts: Counts
    watched: int

    @property
    def differences(self) -> list[str]:
        """What does not add up, in words; empty where all does."""
        return [
            *_differ(_take(self.counts, "read"), _take(self.counts, *ROW_ENDS)),
            *_differ(_take(self.counts, "failure"), _take(self.counts, "first_errors", "counted")),
            *_differ(_take(self.counts, "open"), {"watched": self.watched}),
        ]


@dataclass(frozen=True, slots=True)
class ConfigBook:
    """What the events that were offered to one config came to. `members` are those in its deliveries, by state.
    One that was never `saved` was only tried out, through the API."""

    config_id: str
    name: str
    counts: Counts
    members: Counts
    saved: bool

    @property
    def differences(self) -> list[str]:
        """What does not add up, in words; empty where all does."""
        delivered = {**self.members, **_take(self.counts, "pruned")}
        return [
            *_differ(_take(self.counts, "offered"), _take(self.counts, *EVENT_ENDS)),
            *_differ(_take(self.counts, "planned", "closing_planned", "test_planned"), delivered),
        ]


@dataclass(frozen=True, slots=True)
class OpenStreak:
    """A schedule that fails: `announced` is the event that told it, None below the threshold; `newest_run`, the run or
    row that failed last."""

    source: str
    schedule: str
    connector_id: str | None
    entity_type: str | None
    tenant_id: str | None
    failed_runs: int
    since: datetime | None
    newest_run: str | None
    announced: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """Where everything stands, all read at one moment."""

    sources: list[SourceState]
    source_books: list[SourceBook]
    config_books: list[ConfigBook]
    deliveries: Counts  # by state
    given_up: int  # of those that are dead; a test is none, as nobody sends it again
    streaks: list[OpenStreak]
    lanes: list[LaneState]
    untold: int
    errors: list[Attempt] = field(default_factory=list)  # the newest attempts that failed

    @property
    def differences(self) -> list[str]:
        """What does not add up anywhere, each with whose books it is in."""
        found = [f"source {book.name}: {text}" for book in self.source_books for text in book.differences]
        return found + [f"config {book.name}: {text}" for book in self.config_books for text in book.differences]


def status(db: Database, now: datetime) -> Status:
    """Where everything stands. It reads every delivery once: for a person, not for a loop."""
    with snapshot(db):
        known, counted = sources(db), books.read(db)
        return Status(
            sources=known,
            source_books=[_source_book(source, counted) for source in known],
            config_books=_config_books(db, counted),
            deliveries=_by_state(db.run("SELECT state, COUNT(*) FROM deliveries GROUP BY state")),
            given_up=db.run("SELECT COUNT(*) FROM deliveries WHERE state = 'dead' AND reason <> 'test'")[0][0],
            streaks=_streaks(db, {source.source_id: source.name for source in known}),
            lanes=lanes.listing(db, now),
            untold=count_untold(db),
            errors=history(db, failed=True, limit=_ERRORS_SHOWN).items,
        )


def count_untold(db: Database) -> int:
    """How many events every config dropped. Recoveries are left out: nobody was told of what they close."""
    found: int = db.run("SELECT COUNT(*) FROM events WHERE untold = 1 AND closes_id IS NULL")[0][0]
    return found


def untold(db: Database) -> list[Event]:
    """The newest events that every config dropped."""
    fields = ", ".join(rows.EVENT_FIELDS)
    sql = f"SELECT {fields} FROM events WHERE untold = 1 AND closes_id IS NULL ORDER BY seq DESC LIMIT {_UNTOLD_SHOWN}"
    return [rows.event_of(row) for row in db.run(sql)]


# -- books -------------------------------------------------------------------------------------------

_CONFIGS = (
    f"SELECT d.config_id AS id, {NAME_OF_CONFIG.format('d.config_id')} AS name,"
    " EXISTS (SELECT 1 FROM notification_configs c WHERE c.id = d.config_id) AS saved"
    " FROM (SELECT DISTINCT config_id FROM deliveries) d UNION SELECT id, name, 1 FROM notification_configs"
)


def _source_book(source: SourceState, counted: Mapping[str, Counts]) -> SourceBook:
    return SourceBook(source.source_id, source.name, counted.get(f"source:{source.source_id}", {}), source.watched)


def _config_books(db: Database, counted: Mapping[str, Counts]) -> list[ConfigBook]:
    members: dict[str, dict[str, int]] = {}
    for config_id, state, number in db.run("SELECT config_id, state, SUM(count) FROM deliveries GROUP BY 1, 2"):
        members.setdefault(config_id, {})[state] = number
    return [
        ConfigBook(config_id, name, counted.get(f"config:{config_id}", {}), members.get(config_id, {}), bool(saved))
        for config_id, name, saved in db.run(f"SELECT id, name, saved FROM ({_CONFIGS}) ORDER BY name")
    ]


def _by_state(found: Iterable[tuple[Any, ...]]) -> dict[str, int]:
    counts: dict[str, int] = dict(found)
    return {state: counts[state] for state in STATES if state in counts}


def _take(counts: Counts, *names: str) -> Counts:
    return {name: counts.get(name, 0) for name in names}


def _differ(left: Counts, right: Counts) -> list[str]:
    """The difference of two sides that should be equal, in words; none where they are."""
    difference = sum(left.values()) - sum(right.values())
    return [f"{_written(left)} is not {_written(right)}: the difference is {difference}"] if difference else []


def _written(side: Counts) -> str:
    return " + ".join(f"{number} {name}" for name, number in side.items() if number) or f"0 {next(iter(side), '')}"


# -- streaks -----------------------------------------------------------------------------------------


def _streaks(db: Database, names: Mapping[str, str]) -> list[OpenStreak]:
    """The schedules that fail, those that were announced first, then the longest."""
    found = db.run(
        f"SELECT {', '.join(rows.STREAK_FIELDS)} FROM streaks WHERE announced IS NOT NULL OR outcomes LIKE '%true%'"
    )
    streaks = [open_streak(names.get(row[0], row[0]), rows.streak_of(row)) for row in found]
    failing = [streak for streak in streaks if streak.failed_runs]
    failing.sort(key=lambda streak: (streak.announced is None, -streak.failed_runs, streak.schedule))
    return failing[:_STREAKS_SHOWN]


def open_streak(source: str, streak: Streak) -> OpenStreak:
    """A schedule's streak as people ask for it; one that does not fail has no failed runs."""
    success = max((outcome.position for outcome in streak.outcomes if not outcome.failed), default=None)
    failed = [o for o in streak.outcomes if o.failed and (success is None or o.position > success)]
    announced = streak.announced is not None
    return OpenStreak(
        source=source,
        schedule=streak.schedule,
        connector_id=streak.connector_id,
        entity_type=streak.entity_type,
        tenant_id=streak.tenant_id,
        failed_runs=streak.failed_runs if announced else len(failed),
        since=streak.since if announced else min((o.position.at for o in failed), default=None),
        newest_run=shown_run(failed[-1].run_id) if failed else None,
        announced=streak.announced,
    )
