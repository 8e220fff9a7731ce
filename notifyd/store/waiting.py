"""What keeps a delivery that waits from leaving: the same questions as `admission.py` asks, answered for a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from notifyd.core.breaker import Standing
from notifyd.model import Reason, rfc3339
from notifyd.settings.durations import parse_duration
from notifyd.store import dam, lanes, rows
from notifyd.store.database import Database
from notifyd.store.planning import UNSENT
from notifyd.store.reads import Delivery

WAITING = ("gathering", "pending", "retrying")
"""The states in which a delivery waits."""


@dataclass(frozen=True, slots=True)
class Waits:
    """What a delivery waits for, in words; `until` is when it may leave at the earliest, where that is known."""

    what: str
    until: datetime | None = None


def waits_for(db: Database, delivery: Delivery, now: datetime, most_per_minute: int | None = None) -> Waits | None:
    """What holds it up beyond its own time; None where nothing does. A test waits for nothing.

    `most_per_minute` is the cap over all configs.
    """
    if delivery.state not in WAITING or delivery.reason == Reason.TEST.value:
        return None
    reasons = (
        _asked(db, delivery, now),
        _breaker(db, delivery, now),
        _turn(db, delivery),
        _pace(db, delivery, now),
        _dam(db, most_per_minute, now),
    )
    held = [each for each in reasons if each and (each.until or now) >= delivery.due_at]
    return max(held, key=lambda each: each.until or now) if held else None


def _asked(db: Database, delivery: Delivery, now: datetime) -> Waits | None:
    until = lanes.held(db, now).get(delivery.config_id)
    return Waits("its receiver asked to wait (Retry-After)", until) if until else None


def _breaker(db: Database, delivery: Delivery, now: datetime) -> Waits | None:
    breaker = lanes.open_breakers(db).get(delivery.config_id)
    if breaker is None:
        return None
    if breaker.standing(now) is Standing.OPEN:
        return Waits("its channel fails: the breaker is open, until a probe gets through", breaker.probe_at)
    return Waits("its channel fails: one delivery at a time is tried, until one gets through")


def _turn(db: Database, delivery: Delivery) -> Waits | None:
    """Where each event leaves by itself there are no turns."""
    window = _of_config(db, delivery.config_id, '"group"', "$.window")
    if isinstance(window, str) and not parse_duration(window):
        return None
    found = db.run(
        "SELECT o.id FROM deliveries d JOIN deliveries o ON o.config_id = d.config_id AND o.group_key = d.group_key"
        f" WHERE d.id = ? AND o.state IN {UNSENT} AND o.id <> d.id AND (o.seq < d.seq OR o.state = 'sending') LIMIT 1",
        [delivery.id],
    )
    return next((Waits(f"{before} of the same group has not left yet") for (before,) in found), None)


def _pace(db: Database, delivery: Delivery, now: datetime) -> Waits | None:
    most = _of_config(db, delivery.config_id, "others", "$.delivery.max_per_minute")
    if not isinstance(most, int):
        return None
    begun = db.run(
        "SELECT started_at FROM notification_history WHERE config_id = ? AND started_at > ? AND event_type <> 'test'"
        " ORDER BY started_at DESC LIMIT ?",
        [delivery.config_id, rfc3339(now - timedelta(minutes=1)), most],
    )
    if len(begun) < most:
        return None
    return Waits(f"its config has max_per_minute = {most}", rows.moment(begun[-1][0]) + timedelta(minutes=1))


def _of_config(db: Database, config_id: str, column: str, path: str) -> object:
    """What a config says, as it is stored; None where it says nothing, or is stored as no JSON."""
    sql = f"SELECT json_extract({column}, ?) FROM notification_configs WHERE id = ? AND json_valid({column})"
    found = db.run(sql, [path, config_id])
    return found[0][0] if found else None


def _dam(db: Database, most_per_minute: int | None, now: datetime) -> Waits | None:
    room = dam.room(db, most_per_minute, now) if most_per_minute else None
    if room is None or room.free:
        return None
    return Waits(f"max_notifications_per_minute = {most_per_minute} holds for all configs", room.opens_at)
