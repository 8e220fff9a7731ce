"""A state DB at work: findings go in, claims come out, and the hours pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from notifyd.core.memory import Detected
from notifyd.core.plan import Recipient
from notifyd.model import Finding, Outcome, Result, Verdict
from notifyd.store import audit, commit, cursors, outbox
from notifyd.store.admission import Capacity
from notifyd.store.claim import Claimed
from notifyd.store.commit import Committed, Polled
from notifyd.store.database import Database
from notifyd.store.models import TABLES
from notifyd.store.outbox import Settled
from tests.core.logs import NOON

OPS = Recipient("ops", "ops")
DEV = Recipient("dev", "dev", window=timedelta(0))
SOURCE = "shop-db"
LEASE = timedelta(seconds=90)


class Delivery(NamedTuple):
    """A row of the outbox, as far as the tests look at it."""

    config: str
    reason: str
    state: str
    events: int


class State:
    """See the module's docstring. `free` is how many attempts each config takes at once; `delivery`, other limits."""

    def __init__(self, db: Database, recipients: Sequence[Recipient] = (OPS,), free: int = 8, **delivery: Any) -> None:
        self.db, self.recipients, self.free, self.delivery = db, recipients, free, delivery
        self.most_per_minute: int | None = delivery.pop("most_per_minute", None)
        self.now = NOON
        if cursors.get(db, SOURCE) is None:
            cursors.start(db, SOURCE, "shop", "0", Detected(), self.now)

    def later(self, minutes: float = 0, *, seconds: float = 0) -> None:
        self.now += timedelta(minutes=minutes, seconds=seconds)

    # -- what goes in ----------------------------------------------------------------------------

    def tell(self, *findings: Finding, verdicts: Mapping[tuple[str, str], Verdict] | None = None) -> Committed:
        """A batch found these."""
        return self.commit(Detected(findings=list(findings)), verdicts=verdicts or {})

    def commit(self, detected: Detected, **values: Any) -> Committed:
        polled = Polled(SOURCE, values.pop("cursor", "1"), at_end=True, detected=detected, epoch=0, **values)
        committed = commit.commit(self.db, polled, self.recipients, self.now)
        assert committed is not None
        return committed

    # -- what comes out --------------------------------------------------------------------------

    def turn(self, *settled: Settled) -> list[Claimed]:
        return outbox.turn(self.db, settled, self.lanes, self.now, self.most_per_minute)

    @property
    def lanes(self) -> dict[str, Capacity]:
        return {r.id: Capacity(r, "webhook", self.free, LEASE, **self.delivery) for r in self.recipients}

    @property
    def next_due(self) -> datetime | None:
        return outbox.next_due(self.db, self.lanes, self.now, self.most_per_minute)

    def claim(self) -> Claimed:
        """The one delivery that is due."""
        (claimed,) = self.turn()
        return claimed

    def send(self) -> list[list[str]]:
        """Claim and send all that is due; the ids of the events, by delivery."""
        claimed = self.turn()
        self.settle(claimed)
        return [told_by(each) for each in claimed]

    def settle(
        self,
        claimed: Claimed | Iterable[Claimed],
        result: Result = Result.SENT,
        reason: str = "",
        retry_in: timedelta | None = None,
        status_code: int | None = None,
        after: float | None = None,
    ) -> None:
        """End attempts without claiming anything new."""
        items = [claimed] if isinstance(claimed, Claimed) else claimed
        retry_at = None if retry_in is None else self.now + retry_in
        with self.db.transaction():
            outcome = Outcome(result, reason, status_code, after)
            outbox.settle(self.db, [Settled(each, outcome, self.now, self.now, retry_at) for each in items])

    def fail(self, claimed: Claimed | Iterable[Claimed], retry_minutes: float | None = 1) -> None:
        """End attempts without success; None: they were the last."""
        retry_in = None if retry_minutes is None else timedelta(minutes=retry_minutes)
        self.settle(claimed, Result.RETRY, "HTTP 503", retry_in)

    # -- what there is ---------------------------------------------------------------------------

    @property
    def deliveries(self) -> list[Delivery]:
        """All, in the order in which they were planned."""
        return [
            Delivery(*r) for r in self.db.run("SELECT config_id, reason, state, count FROM deliveries ORDER BY seq")
        ]

    @property
    def states(self) -> list[str]:
        return [delivery.state for delivery in self.deliveries]

    @property
    def ids(self) -> list[str]:
        """The ids of all deliveries, in that order."""
        return [row[0] for row in self.db.run("SELECT id FROM deliveries ORDER BY seq")]

    def decided(self, event_id: str, config_id: str = "ops") -> tuple[str, str]:
        """What was decided about an event for a config, and why."""
        sql = "SELECT decided, reason FROM verdicts WHERE event_id = ? AND config_id = ?"
        ((decided, reason),) = self.db.run(sql, [event_id, config_id])
        return decided, reason

    def due(self, delivery_id: str) -> datetime:
        return datetime.fromisoformat(self.db.run("SELECT due_at FROM deliveries WHERE id = ?", [delivery_id])[0][0])

    def check_books(self) -> None:
        """The books balance, and every delivery has as many members as it counts."""
        assert audit.status(self.db, self.now).differences == []
        for identity, count in self.db.run("SELECT id, count FROM deliveries"):
            sql = "SELECT COUNT(*) FROM verdicts WHERE delivery_id = ? AND decided = 'planned'"
            assert self.db.run(sql, [identity]) == [(count,)]
            assert self.db.run("SELECT COUNT(*) FROM verdicts WHERE delivery_id = ?", [identity]) == [(count,)]


def emptied(db: Database) -> Database:
    """The state DB as if it were new."""
    with db.transaction():
        for table in TABLES:
            db.run(f'DELETE FROM "{table._meta.table_name}"')
    return db


def told_by(claimed: Claimed) -> list[str]:
    """The ids of the events that a delivery tells."""
    return [event.id for event in claimed.notification.events]
