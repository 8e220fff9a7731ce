"""The outbox as planning sees it, and a plan as the outbox keeps it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from notifyd.core.plan import Group, GroupKey, Plan, Recipient, Told, View, condition_of, group_key
from notifyd.model import Event, Finding, Severity, rfc3339
from notifyd.store import books, rows
from notifyd.store.database import Database

WAITING = "('gathering', 'pending', 'sending', 'retrying')"
UNSENT = "('pending', 'sending', 'retrying')"
LOST = "('dead', 'expired', 'cancelled')"

TELLS = "(told.id = {0} OR (told.condition = {0} AND told.event_type = 'consecutive_failures'))"
"""Of a condition, the events that tell it: the one that opened it, and a streak's reminders. Each by its index."""


def view(db: Database, findings: Sequence[Finding], recipients: Sequence[Recipient]) -> View:
    """The groups and conditions that the findings touch."""
    keys = {
        (recipient.id, group_key(finding.event, recipient.by))
        for recipient in recipients
        if recipient.window
        for finding in findings
    }
    conditions = {condition for finding in findings if (condition := condition_of(finding))}
    return View({key: _group(db, key) for key in keys}, _told(db, conditions), _held(db, conditions))


def write(db: Database, plan: Plan, events: Iterable[Event], now: datetime) -> None:
    """Keep a plan: verdicts, deliveries, members, windows and books. Only inside a transaction."""
    db.write_many(rows.INSERT_VERDICT, map(rows.verdict_row, plan.decisions))
    created = rfc3339(now)
    db.write_many(
        rows.INSERT_DELIVERY, [rows.delivery_row(d, d.id in plan.closing, created) for d in plan.deliveries.values()]
    )
    db.write_many("UPDATE deliveries SET count = count + ? WHERE id = ?", [(n, d) for d, n in plan.joined.items()])
    db.write_many("UPDATE deliveries SET closing = 1 WHERE id = ?", [(d,) for d in plan.closing])
    write_windows(db, plan.windows)
    _count(db, plan, {event.id for event in events if event.closes})


def write_windows(db: Database, windows: dict[GroupKey, datetime]) -> None:
    """Open windows: until then, what follows in these groups gathers."""
    db.write_many(
        "INSERT OR REPLACE INTO windows (config_id, group_key, until) VALUES (?, ?, ?)",
        [(config, group, rfc3339(until)) for (config, group), until in windows.items()],
    )


def _group(db: Database, key: GroupKey) -> Group:
    states = db.run(
        f"SELECT state, id FROM deliveries WHERE config_id = ? AND group_key = ? AND state IN {WAITING}",
        key,
    )
    window = db.run("SELECT until FROM windows WHERE config_id = ? AND group_key = ?", key)
    return Group(
        until=rows.moment(window[0][0]) if window else None,
        waiting=any(state != "gathering" for state, _ in states),
        gathering=next((identity for state, identity in states if state == "gathering"), None),
    )


def _told(db: Database, conditions: Iterable[str]) -> dict[tuple[str, str], Told]:
    """Who was told of the conditions: a delivery was planned and is not lost."""
    told: dict[tuple[str, str], Told] = {}
    for condition in conditions:
        for config, severity, delivery, state, attempts in db.run(
            "SELECT v.config_id, told.severity, d.id, d.state, d.attempts FROM events told"
            " JOIN verdicts v ON v.event_id = told.id AND v.decided = 'planned'"
            " JOIN deliveries d ON d.id = v.delivery_id"
            f" WHERE {TELLS.format('?1')} AND d.state NOT IN {LOST} ORDER BY told.seq",
            [condition],
        ):
            takes_members = state == "gathering" or (state == "pending" and attempts == 0)
            told[condition, config] = Told(Severity(severity), delivery if takes_members else None)
    return told


def _held(db: Database, conditions: Iterable[str]) -> dict[tuple[str, str], datetime]:
    """Who will be told of the conditions, as a filter holds it back until then."""
    return {
        (condition, config): rows.moment(until)
        for condition in conditions
        for config, until in db.run(
            "SELECT v.config_id, MAX(v.until) FROM events told"
            " JOIN verdicts v ON v.event_id = told.id AND v.decided = 'held'"
            f" WHERE {TELLS.format('?1')} GROUP BY v.config_id",
            [condition],
        )
    }


def _count(db: Database, plan: Plan, closing: set[str]) -> None:
    """Offered = dropped + folded + held + planned; closing events are counted apart."""
    counts: dict[str, Counter[str]] = {}
    for decision in plan.decisions:
        book = counts.setdefault(decision.config_id, Counter())
        if decision.event_id in closing:
            book[f"closing_{decision.decided.value}"] += 1
        else:
            book[decision.decided.value] += 1
            book["offered"] += 1
    for config, book in counts.items():
        books.add(db, f"config:{config}", book)
