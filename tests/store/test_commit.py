"""The one transaction of a batch: everything, or nothing; and whatever the texts are made of."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta

import peewee
import pytest

from notifyd.core.detect import detect
from notifyd.core.memory import Memory
from notifyd.core.rules import Rules
from notifyd.model import Drop, Event, Hold, Pass, Status, Verdict
from notifyd.store import books, commit, cursors, memory, outbox
from notifyd.store.commit import Polled
from notifyd.store.database import Database
from notifyd.store.models import TABLES
from notifyd.store.trail import Actor
from tests.core.findings import announcement, finding
from tests.core.logs import NAIVE, NOON, RECORDS, RUNS, at, row
from tests.store.state import DEV, OPS, SOURCE, State, told_by

HOSTILE = 'NUL \0, half a pair \ud800, "quotes", \u202e right to left, emoji 🧨, %s {0} \\ \r\n'
CLEANED = HOSTILE.replace("\0", "�").replace("\ud800", "?")


def everything(db: Database) -> dict[str, list[tuple[object, ...]]]:
    """All that the state DB holds, by table."""
    return {t._meta.table_name: db.run(f'SELECT * FROM "{t._meta.table_name}"') for t in TABLES}


# -- all or nothing ------------------------------------------------------------------------------

WRITTEN = (
    "events",
    "verdicts",
    "deliveries",
    "windows",
    "runs",
    "streaks",
    "watched",
    "set_aside",
    "cursors",
    "counts",
)


def a_batch(state: State) -> None:
    """One that writes to every table: a streak is announced, a row runs, one is set aside, one is unreadable."""
    log = [
        *(row(n, "failure", n, run_id=f"r{n}") for n in range(3)),
        row("w", "running", 3),
        row("p", occurred_at=NAIVE),
    ]
    state.commit(detect(Memory(), log, Rules(), RECORDS), cursor="5", unreadable=[("u", "no key")])


@pytest.mark.parametrize("table", WRITTEN)
def test_a_statement_that_fails_anywhere_leaves_nothing(state: State, table: str) -> None:
    before = everything(state.db)
    for event in ("INSERT", "UPDATE"):
        burn = "SELECT RAISE(ABORT, 'disk on fire')"
        state.db.run(f'CREATE TRIGGER "fail on {event}" BEFORE {event} ON "{table}" BEGIN {burn}; END')
    with pytest.raises((peewee.IntegrityError, sqlite3.IntegrityError), match="disk on fire"):
        a_batch(state)
    assert everything(state.db) == before
    for event in ("INSERT", "UPDATE"):
        state.db.run(f'DROP TRIGGER "fail on {event}"')
    a_batch(state)
    written = everything(state.db)
    assert all(written[name] for name in WRITTEN)
    state.check_books()


def test_the_cursor_moves_with_what_was_found(state: State) -> None:
    checkpoint = cursors.get(state.db, SOURCE)
    assert checkpoint is not None
    assert checkpoint.cursor == "0"
    a_batch(state)
    checkpoint = cursors.get(state.db, SOURCE)
    assert checkpoint is not None
    assert checkpoint.cursor == "5"


def test_a_batch_that_begins_where_the_cursor_is_not_any_more_counts_for_nothing(state: State) -> None:
    """A person moved it while the batch was read."""
    assert cursors.move(state.db, SOURCE, "shop", "0", "back", "24h", Actor("kim"), state.now)
    assert not cursors.move(state.db, SOURCE, "shop", "0", "again", "24h", Actor("kim"), state.now)
    before = everything(state.db)
    detected = detect(Memory(), [row("1", "failure", 1)], Rules(), RUNS)
    polled = Polled(SOURCE, "1", at_end=True, detected=detected, epoch=0, read_from="0")
    assert commit.commit(state.db, polled, [OPS], state.now) is None
    assert everything(state.db) == before
    committed = commit.commit(state.db, replace(polled, read_from="back"), [OPS], state.now)
    assert committed is not None
    assert committed.events == 1


def test_an_event_that_is_known_is_not_told_again(state: State) -> None:
    """The same findings again, with one more: only that one is new."""
    state.tell(finding("1"), announcement())
    state.send()
    before = everything(state.db)
    committed = state.tell(finding("1"), announcement())
    assert (committed.events, committed.deliveries) == (0, 0)
    after = everything(state.db)
    assert all(before[name] == after[name] for name in ("events", "verdicts", "deliveries", "windows", "counts"))
    assert state.tell(finding("1"), finding("2", connector_id="qb")).events == 1
    assert state.send() == [["2"]]
    state.check_books()


def test_an_event_that_comes_twice_in_one_batch_is_one(state: State) -> None:
    assert state.tell(finding("1"), finding("1")).events == 1
    assert state.send() == [["1"]]


def test_events_are_ordered_as_they_were_found(state: State) -> None:
    state.tell(finding("b"), finding("a"))
    state.tell(finding("0"))
    assert state.db.run("SELECT id FROM events ORDER BY seq") == [("b",), ("a",), ("0",)]


# -- what is kept --------------------------------------------------------------------------------


def test_every_verdict_is_kept_with_its_reason(db: Database) -> None:
    state = State(db, [OPS, DEV])
    verdicts: dict[tuple[str, str], Verdict] = {
        ("1", "ops"): Drop("too mild"),
        ("1", "dev"): Pass("filter x failed"),
        ("2", "ops"): Hold(at(9), "night"),
    }
    state.tell(finding("1"), finding("2"), verdicts=verdicts)
    assert state.decided("1", "ops") == ("dropped", "too mild")
    assert state.decided("1", "dev") == ("planned", "filter x failed")
    assert state.decided("2", "ops") == ("held", "night")
    assert state.decided("2", "dev") == ("planned", "sent at once")
    state.check_books()


def test_an_event_that_every_config_dropped_is_untold(db: Database) -> None:
    state = State(db, [OPS, DEV])
    drop = Drop("too mild")
    verdicts = {("1", "ops"): drop, ("1", "dev"): drop, ("2", "ops"): drop}
    assert state.tell(finding("1"), finding("2"), verdicts=verdicts).untold == 1
    assert db.run("SELECT id FROM events WHERE untold = 1") == [("1",)]
    assert books.read(db)[f"source:{SOURCE}"] == {"events": 2, "untold": 1}


def test_without_any_config_everything_is_untold(db: Database) -> None:
    assert State(db, []).tell(finding("1")).untold == 1


def test_a_held_or_folded_event_is_not_untold(state: State) -> None:
    state.tell(announcement())
    hold = {("2", "ops"): Hold(at(60), "night")}
    assert state.tell(finding("1", condition="streak"), finding("2"), verdicts=hold).untold == 0


def test_rows_that_were_set_aside_are_kept_and_counted_but_not_for_ever(state: State) -> None:
    for poll in range(3):
        poisoned = [row(f"{poll}-{n}", occurred_at=NAIVE) for n in range(100)]
        unreadable = [(f"unreadable {poll}", "its key is NULL or empty")]
        state.commit(detect(Memory(), poisoned, Rules(), RUNS), unreadable=unreadable)
    kept = state.db.run("SELECT key, text FROM set_aside ORDER BY id")
    assert len(kept) == 200
    assert kept[-1][0] == "2-99"
    assert "TypeError" in kept[-1][1]
    assert books.read(state.db)[f"source:{SOURCE}"] == {"read": 303, "set_aside": 303}


def test_a_source_that_could_not_be_read_keeps_its_cursor(state: State) -> None:
    state.commit(detect(Memory(), [], Rules(), RUNS), cursor="7")
    cursors.failed(state.db, SOURCE, f"cannot open {HOSTILE}", state.now)
    sql = "SELECT cursor, failed_at IS NOT NULL, error FROM cursors"
    assert state.db.run(sql) == [("7", 1, f"cannot open {CLEANED}")]
    state.commit(detect(Memory(), [], Rules(), RUNS), cursor="8")
    assert state.db.run(sql) == [("8", 0, None)]


# -- hostile texts -------------------------------------------------------------------------------


def test_hostile_texts_are_kept_and_told(state: State) -> None:
    hostile = row(
        HOSTILE,
        "failure",
        run_id=HOSTILE,
        schedule_id=HOSTILE,
        connector_id=HOSTILE,
        entity_type=HOSTILE,
        tenant_id=HOSTILE,
        error_type=HOSTILE,
        message=HOSTILE,
        details={HOSTILE: HOSTILE},
    )
    detected = detect(Memory(), [hostile, hostile._replace(key="r\ud800", status=Status.RUNNING)], Rules(), RECORDS)
    verdicts = {(finding.event.id, "dev"): Drop(HOSTILE) for finding in detected.findings}
    state.recipients = [OPS, DEV]
    state.commit(detected, verdicts=verdicts, unreadable=[(HOSTILE, HOSTILE)])
    assert state.decided(detected.findings[0].event.id, "dev") == ("dropped", CLEANED)
    event = state.claim().notification.event
    assert clean_everywhere(event)
    assert (event.message, event.connector_id, event.details[CLEANED]) == (CLEANED, CLEANED, CLEANED)
    assert memory.watched(state.db, SOURCE).keys() == {"r\ud800"}
    state.check_books()


def clean_everywhere(event: Event) -> bool:
    """Whether it can be sent anywhere: a text that is no valid Unicode fails in every network library."""
    text = repr(event) + "".join([*event.details, *event.details.values()])
    return "\0" not in text and bool(text.encode())


def test_groups_of_hostile_texts_are_groups(state: State) -> None:
    state.tell(finding("1", connector_id=HOSTILE))
    state.send()
    state.tell(finding("2", connector_id=HOSTILE), finding("3", connector_id="woo"))
    assert state.send() == [["3"]]
    state.later(5)
    assert state.send() == [["2"]]


def test_a_held_event_of_a_hostile_connector_leaves_with_its_group(state: State) -> None:
    state.tell(finding("1", connector_id=HOSTILE), verdicts={("1", "ops"): Hold(at(1), "night")})
    state.later(1)
    assert told_by(state.claim()) == ["1"]


def test_times_are_kept_to_the_microsecond_and_in_utc(state: State) -> None:
    one = finding("1", timestamp=NOON + timedelta(microseconds=1))
    state.tell(one)
    claimed = state.claim()
    assert claimed.notification.event.timestamp == one.event.timestamp
    assert claimed.notification.event.timestamp.utcoffset() == timedelta(0)


def test_an_event_comes_back_as_it_was(state: State) -> None:
    one = finding(
        "1", entity_type="orders", error_type="x", tenant_id="T", schedule_id="s", run_id="r", source="shop",
        details={"a": "1"}, suggested_actions=("do this", "then that"),
    )  # fmt: skip
    one = replace(one, event=replace(one.event, title="Ünïcödé"))
    state.tell(one)
    assert state.claim().notification.event == one.event


def test_the_test_event_s_config_may_have_any_name(state: State) -> None:
    outbox.enqueue_test(state.db, "ops", "ops “quoted” 🧨", state.now)
    assert "🧨" in state.claim().notification.event.message
