"""The laws of the outbox, whatever happens in whatever order: failures, recoveries, dead endpoints, crashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from notifyd.core.detect import detect
from notifyd.core.rules import Rules
from notifyd.model import Drop, Finding, Hold, Pass, Result, Verdict
from notifyd.store import memory, outbox
from notifyd.store.claim import Claimed
from notifyd.store.database import Database
from notifyd.store.planning import LOST
from tests.core.logs import LAW, NOON, RUNS, row
from tests.examples import examples
from tests.store.state import DEV, OPS, SOURCE, State, emptied, told_by

ALL = replace(OPS, id="all", name="all", by=())
EVERYONE = (OPS, DEV, ALL)
RULES = Rules(threshold=2, remind_every=timedelta(minutes=45))
LIVES = settings(LAW, max_examples=examples(400))  # each step of each example is a transaction

Script = list[tuple[str, list[int]]]

steps = st.sampled_from(["fail", "fail", "fail", "succeed", "send", "send", "send", "wait", "crash", "retry"])
limits = st.sampled_from(
    [{}, {}, {"expire_after": timedelta(minutes=25)}, {"max_per_minute": 2}, {"most_per_minute": 3}]
)
lives = st.lists(st.tuples(steps, st.lists(st.integers(0, 11), min_size=6, max_size=6)), max_size=20)

NEVER_TOLD: Script = [
    *[("fail", [0, 9, 9, 9, 9, 9])] * 2,
    *[("send", [1] * 6)] * 3,
    ("succeed", [0, 9, 9, 9, 9, 9]),
    ("wait", [3] * 6),
    *[("send", [0] * 6)] * 3,
]
"""A streak is announced and ends, and then the announcement is given up: a life that is seldom drawn."""

TOLD_AFTER_ALL: Script = [*NEVER_TOLD, *[("wait", [9] * 6), ("send", [0] * 6)] * 8, ("retry", [0] * 6)]
"""And then a person sends it again."""


class Life:
    """A state DB through one script. What each step does is decided by its numbers."""

    def __init__(self, db: Database, limits: dict[str, Any]) -> None:
        self.state = State(emptied(db), EVERYONE, free=3, **limits)
        self.sent: list[tuple[str, list[str]]] = []  # (config, events), as they were sent
        self.given_up: set[str] = set()
        self.rows = 0

    def step(self, what: str, numbers: list[int]) -> None:
        steps: dict[str, Callable[[list[int]], None]] = {
            "fail": self.fail,
            "succeed": self.succeed,
            "send": self.send,
            "wait": lambda numbers: self.state.later(numbers[0] * 3),
            "crash": lambda _: self.crash(),
            "retry": lambda _: self.retry(),
        }
        steps[what](numbers)

    def fail(self, numbers: list[int]) -> None:
        self.read("failure", numbers)

    def succeed(self, numbers: list[int]) -> None:
        self.read("success", numbers)

    def read(self, status: str, numbers: list[int]) -> None:
        """A poll that found one row of one of two schedules."""
        self.rows += 1
        schedule = "ab"[numbers[0] % 2]
        minute = (self.state.now - NOON) / timedelta(minutes=1)
        record = row(self.rows, status, minute, schedule_id=schedule)
        known = memory.load(self.state.db, SOURCE, [record], self.state.now, RUNS)
        detected = detect(known, [record], RULES, RUNS)
        self.state.commit(detected, verdicts=self.verdicts(detected.findings, numbers))

    def verdicts(self, findings: list[Finding], numbers: list[int]) -> dict[tuple[str, str], Verdict]:
        kinds: list[Verdict] = [
            Drop("not for me"),
            *[Hold(self.state.now + timedelta(minutes=20), "later")] * 2,
            *[Pass()] * 9,
        ]
        pairs = [(finding.event.id, recipient.id) for finding in findings for recipient in EVERYONE]
        return {pair: kinds[numbers[1 + index % 5]] for index, pair in enumerate(pairs)}

    def send(self, numbers: list[int]) -> None:
        """A turn of the sender: each attempt is sent, tried again later, given up, or still on its way at a crash."""
        for index, claimed in enumerate(self.state.turn()):
            match numbers[index % 6]:
                case 0 | 6:
                    self.given_up.add(claimed.notification.id)
                    self.state.fail(claimed, retry_minutes=None)
                case 1 | 2 | 3:
                    self.state.fail(claimed, retry_minutes=7)
                case 4:
                    pass
                case _:
                    self.arrive(claimed)

    def arrive(self, claimed: Claimed) -> None:
        self.sent.append((claimed.config_id, told_by(claimed)))
        self.state.settle(claimed, Result.SENT)

    def crash(self) -> None:
        outbox.take_up(self.state.db, self.state.now, all_leases=True)

    def retry(self) -> None:
        """A person sends everything again that was lost, but for what gathered elsewhere."""
        lost = self.state.db.run(f"SELECT id FROM deliveries WHERE state IN {LOST} AND count > 0")
        self.given_up -= set(outbox.requeue(self.state.db, [identity for (identity,) in lost], self.state.now))

    def to_the_end(self) -> None:
        """The endpoints work, and time passes, until nothing is left to do."""
        self.crash()
        for _ in range(100):
            for claimed in self.state.turn():
                self.arrive(claimed)
            if self.state.next_due is None:
                return
            self.state.later(10)
        raise AssertionError(f"something waits for ever: {self.state.deliveries}")


@LIVES
@example(NEVER_TOLD, {})
@example(TOLD_AFTER_ALL, {})
@given(lives, limits)
def test_every_event_ends_sent_lost_or_dropped_with_a_reason(
    shared: Database, script: Script, limits: dict[str, Any]
) -> None:
    life = Life(shared, limits)
    for what, numbers in script:
        life.step(what, numbers)
        life.state.check_books()
    life.to_the_end()
    life.state.check_books()
    assert set(life.state.states) <= {"sent", "dead", "cancelled", *(["expired"] if "expire_after" in limits else [])}
    check_verdicts(shared)
    check_sent(life)
    check_closings(life)


def check_verdicts(db: Database) -> None:
    """Each event was decided about once for each config; nothing is held any more, and no drop is without a reason."""
    events: int = db.run("SELECT COUNT(*) FROM events")[0][0]
    assert db.run("SELECT COUNT(*) FROM verdicts") == [(events * len(EVERYONE),)]
    assert db.run("SELECT * FROM verdicts WHERE decided = 'held'") == []
    assert db.run("SELECT * FROM verdicts WHERE decided = 'dropped' AND reason = ''") == []
    assert db.run("SELECT * FROM verdicts WHERE (decided = 'planned') <> (delivery_id IS NOT NULL)") == []


def check_sent(life: Life) -> None:
    """A config hears of each event that was planned for it once, unless its channel gave it up."""
    dead = life.state.db.run("SELECT id FROM deliveries WHERE state = 'dead'")
    assert {identity for (identity,) in dead} == life.given_up
    told = Counter((config, event) for config, events in life.sent for event in events)
    assert set(told.values()) <= {1}
    of_deliveries = "FROM verdicts v JOIN deliveries d ON d.id = v.delivery_id"
    sent = life.state.db.run(f"SELECT v.config_id, v.event_id {of_deliveries} WHERE d.state = 'sent'")
    assert set(told) == set(sent)


def check_closings(life: Life) -> None:
    """An end is told to those that were told of what it closes, to all of them, and never before."""
    openings = dict(life.state.db.run("SELECT id, closes_id FROM events WHERE closes_id IS NOT NULL"))
    tells: dict[str, set[str]] = {}
    for event, condition in life.state.db.run(
        "SELECT id, condition FROM events WHERE event_type = 'consecutive_failures'"
    ):
        tells.setdefault(condition, set()).add(event)
    for recipient in EVERYONE:
        heard = [event for config, events in life.sent if config == recipient.id for event in events]
        for end, condition in openings.items():
            before = heard[: heard.index(end)] if end in heard else heard
            assert (end in heard) <= bool(tells[condition] & set(before))
            if tells[condition] & set(heard):
                assert end in heard or lost(life, end, recipient.id)


def lost(life: Life, event: str, config: str) -> bool:
    """Whether the delivery of an event died or expired."""
    sql = "SELECT delivery_id FROM verdicts WHERE event_id = ? AND config_id = ?"
    ((delivery,),) = life.state.db.run(sql, [event, config])
    return life.state.db.run("SELECT state FROM deliveries WHERE id = ?", [delivery]) in (
        [("dead",)],
        [("expired",)],
    )
