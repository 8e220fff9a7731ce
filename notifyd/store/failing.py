"""The outages of channels that others are told of: which there are to tell, and which are over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from notifyd.core.plan import Recipient
from notifyd.model import Finding, Verdict, rfc3339
from notifyd.store import commit, rows
from notifyd.store.commit import Committed
from notifyd.store.database import Database


@dataclass(frozen=True, slots=True)
class Failing:
    """A config whose channel fails: since when and why, how many of its deliveries are dead; and the event that told
    it, once there is one."""

    config_id: str
    name: str
    since: datetime
    error: str
    dead: int
    condition: str | None
    in_use: bool


SOON = timedelta(seconds=5)


def to_tell(db: Database, lasting: timedelta, now: datetime) -> list[Failing]:
    """The channels that have failed for so long without a word.

    A channel that is about to be tried, or is being tried, is told of after that, as only then it is known what is
    given up; but not later than by half as long again.
    """
    return _failing(
        db,
        "probe_at > '' AND opened_at <= ? AND (probe_at > ? OR opened_at <= ?) AND condition IS NULL AND {}",
        rfc3339(now - lasting),
        rfc3339(now + SOON),
        rfc3339(now - lasting * 1.5),
    )


def told(db: Database) -> list[Failing]:
    """The channels that were told as failing, and still do."""
    return _failing(db, "condition > '' AND probe_at > '' AND {}")


def over(db: Database) -> list[Failing]:
    """The channels that were told as failing, and deliver again, or are not used any more."""
    return _failing(db, "condition > '' AND (probe_at IS NULL OR NOT ({}))")


def tell(
    db: Database,
    config_id: str,
    finding: Finding,
    verdicts: Mapping[tuple[str, str], Verdict],
    recipients: Sequence[Recipient],
    now: datetime,
) -> Committed | None:
    """Keep the event of a channel that fails, once for each outage; None where it has just ended."""
    with db.transaction():
        told = db.run(
            "UPDATE lanes SET condition = ?, told_since = opened_at WHERE config_id = ? AND probe_at > ''"
            " AND condition IS NULL RETURNING 1",
            [finding.event.id, config_id],
        )
        return commit.keep(db, None, [finding], verdicts, recipients, now) if told else None


def end(db: Database, config_id: str, recovery: Finding, recipients: Sequence[Recipient], now: datetime) -> Committed:
    """Keep the event of its end."""
    with db.transaction():
        db.run("UPDATE lanes SET condition = NULL, told_since = NULL WHERE config_id = ?", [config_id])
        return commit.keep(db, None, [recovery], {}, recipients, now)


_IN_USE = "c.enabled = 1 AND c.deleted_at IS NULL"


def _failing(db: Database, condition: str, *values: Any) -> list[Failing]:
    found = db.run(
        "SELECT config_id, c.name, COALESCE(told_since, opened_at), COALESCE(l.error, ''),"
        " (SELECT COUNT(*) FROM deliveries d WHERE d.config_id = l.config_id AND d.state = 'dead'"
        " AND d.reason <> 'test'), condition,"
        f" {_IN_USE} FROM lanes l"
        f" JOIN notification_configs c ON c.id = l.config_id WHERE {condition.format(_IN_USE)} ORDER BY config_id",
        values,
    )
    return [Failing(row[0], row[1], rows.moment(row[2]), row[3], row[4], row[5], bool(row[6])) for row in found]
