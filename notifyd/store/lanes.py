"""What each lane remembers of its attempts: its circuit breaker, and until when the receiver asked to be left
alone. A restart forgets neither."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from notifyd.core.breaker import FAILED, REFUSED, REFUSING, SENT, Breaker, Standing
from notifyd.model import Outcome, Result, rfc3339
from notifyd.store import rows
from notifyd.store.database import Database

LONGEST_HOLD = timedelta(minutes=15)
"""A Retry-After holds the whole lane no longer: it may be a mistake, and asking again then costs one attempt."""

_BREAKER = "outcomes, opened_at, probe_at, probes"


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt of a lane that has ended. `asked_for` is a test: what a person tries out says little of the rest."""

    config_id: str
    outcome: Outcome
    began_at: datetime
    ended_at: datetime
    asked_for: bool = False


@dataclass(frozen=True, slots=True)
class LaneState:
    """How a config's lane fares. `told_as` is the event by which others were told that it fails; until `held_until`
    its receiver asked to be left alone."""

    config_id: str
    name: str
    breaker: str
    attempts: int  # the newest that count
    failed: int  # of those
    failing_since: datetime | None
    next_probe_at: datetime | None
    held_until: datetime | None
    error: str | None
    told_as: str | None


def fold(db: Database, ended: Iterable[Ended]) -> None:
    """Let the breakers know how attempts ended, and the lanes what receivers asked for. Only inside a transaction."""
    by_lane: dict[str, list[Ended]] = {}
    for each in ended:
        if each.outcome.result is Result.RETRY and each.outcome.after:
            _hold(db, each.config_id, each.ended_at + min(timedelta(seconds=each.outcome.after), LONGEST_HOLD))
        if _counts(each):
            by_lane.setdefault(each.config_id, []).append(each)
    known = _known(db, by_lane) if by_lane else {}
    for config_id, attempts in by_lane.items():
        before = known.get(config_id)
        after = _after(before or Breaker(), attempts)
        if after != before:
            _save(db, config_id, after, attempts[-1])


def open_breakers(db: Database) -> dict[str, Breaker]:
    """The breakers that are not closed, by config id."""
    return {row[0]: _breaker(row[1:]) for row in db.run(f"SELECT config_id, {_BREAKER} FROM lanes WHERE probe_at > ''")}


def held(db: Database, now: datetime) -> dict[str, datetime]:
    """Until when lanes are to begin nothing, as their receivers asked, by config id."""
    found = db.run("SELECT config_id, held_until FROM lanes WHERE held_until > ?", [rfc3339(now)])
    return {config_id: rows.moment(until) for config_id, until in found}


def listing(db: Database, now: datetime) -> list[LaneState]:
    """The lanes of the configs that there are, those that fail first."""
    found = db.run(
        f"SELECT l.config_id, c.name, l.error, l.condition, l.held_until, {_BREAKER} FROM lanes l"
        " JOIN notification_configs c ON c.id = l.config_id WHERE c.deleted_at IS NULL"
        " ORDER BY l.probe_at IS NULL, c.name"
    )
    return [_state(row, now) for row in found]


def _hold(db: Database, config_id: str, until: datetime) -> None:
    db.run(
        "INSERT INTO lanes (config_id, outcomes, probes, held_until) VALUES (?, '', 0, ?) ON CONFLICT (config_id)"
        " DO UPDATE SET held_until = MAX(COALESCE(held_until, ''), excluded.held_until)",
        [config_id, rfc3339(until)],
    )


def _counts(ended: Ended) -> bool:
    """Whether it says how the channel fares: a stop of the daemon does not, and a test only where it arrived."""
    sent = ended.outcome.result is Result.SENT
    return sent or not (ended.asked_for or ended.outcome.result is Result.UNKNOWN)


def _known(db: Database, config_ids: Iterable[str]) -> dict[str, Breaker]:
    found = db.run(
        f"SELECT config_id, {_BREAKER} FROM json_each(?) k JOIN lanes ON config_id = k.value",
        [rows.dump(list(config_ids))],
    )
    return {row[0]: _breaker(row[1:]) for row in found}


def _after(breaker: Breaker, attempts: Iterable[Ended]) -> Breaker:
    for each in attempts:
        breaker = breaker.after(_letter(each.outcome), each.began_at, each.ended_at)
    return breaker


def _letter(outcome: Outcome) -> str:
    if outcome.result is Result.SENT:
        return SENT
    return REFUSED if outcome.result is Result.REJECTED and outcome.status_code in REFUSING else FAILED


def _save(db: Database, config_id: str, breaker: Breaker, newest: Ended) -> None:
    error = None if breaker.probe_at is None else rows.clean(newest.outcome.reason)
    db.run(
        f"INSERT INTO lanes (config_id, {_BREAKER}, error) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (config_id) DO UPDATE SET outcomes = excluded.outcomes, opened_at = excluded.opened_at,"
        " probe_at = excluded.probe_at, probes = excluded.probes, error = excluded.error",
        [
            config_id, breaker.outcomes, rows.text(breaker.opened_at), rows.text(breaker.probe_at), breaker.probes,
            error,
        ],
    )  # fmt: skip


def _breaker(row: Sequence[Any]) -> Breaker:
    outcomes, opened_at, probe_at, probes = row
    return Breaker(outcomes, rows.moment(opened_at), rows.moment(probe_at), probes)


def _state(row: Sequence[Any], now: datetime) -> LaneState:
    config_id, name, error, condition, held_until = row[:5]
    breaker, until = _breaker(row[5:]), rows.moment(held_until)
    standing = breaker.standing(now)
    return LaneState(
        config_id=config_id,
        name=name,
        breaker=standing.value,
        attempts=len(breaker.outcomes),
        failed=breaker.failed,
        failing_since=breaker.opened_at,
        next_probe_at=breaker.probe_at if standing is Standing.OPEN else None,
        held_until=until if until and until > now else None,
        error=error,
        told_as=condition,
    )
