"""What fails in a row, and how it fares: the streaks, as people ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from notifyd.store import reads, rows
from notifyd.store.audit import open_streak
from notifyd.store.database import Database


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """A schedule; `failed_runs` in a row since `since`, and the event that `announced` it."""

    source: str
    schedule: str
    schedule_id: str | None
    connector_id: str | None
    entity_type: str | None
    tenant_id: str | None
    failed_runs: int
    since: datetime | None
    announced: str | None


def listing(db: Database, *, failing: bool | None = None) -> list[ScheduleState]:
    """Every schedule, those that fail most first."""
    with reads.snapshot(db):
        names = {source.source_id: source.name for source in reads.sources(db)}
        found = db.run(f"SELECT {', '.join(rows.STREAK_FIELDS)} FROM streaks ORDER BY source_id, schedule")
    states = [_state(names, row) for row in found]
    chosen = [state for state in states if failing is None or failing == (state.failed_runs > 0)]
    return sorted(chosen, key=lambda state: (state.announced is None, -state.failed_runs))


def called(db: Database, key: str, source_id: str | None = None) -> list[tuple[str, ScheduleState]]:
    """The schedules of that id, or else of that connector, each with the id of its source; of one source, if given."""
    with reads.snapshot(db):
        names = {source.source_id: source.name for source in reads.sources(db)}
        found = db.run(
            f"SELECT {', '.join(rows.STREAK_FIELDS)} FROM streaks WHERE ?1 IN (schedule, schedule_id, connector_id)"
            " AND (?2 IS NULL OR source_id = ?2) ORDER BY source_id, schedule",
            [rows.clean(key), source_id],
        )
    states = [(str(row[0]), _state(names, row)) for row in found]
    return [each for each in states if key in (each[1].schedule, each[1].schedule_id)] or states


def _state(names: dict[str, str], row: rows.Row) -> ScheduleState:
    streak = rows.streak_of(row)
    fails = open_streak(names.get(row[0]) or str(row[0]), streak)
    return ScheduleState(
        source=fails.source,
        schedule=fails.schedule,
        schedule_id=streak.schedule_id,
        connector_id=fails.connector_id,
        entity_type=fails.entity_type,
        tenant_id=fails.tenant_id,
        failed_runs=fails.failed_runs,
        since=fails.since,
        announced=fails.announced,
    )
