"""Pages of the history: each begins behind the one before, by an index, wherever it is."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from notifyd.store import reads, search
from notifyd.store.database import Database
from notifyd.store.search import AttemptSearch, DeliverySearch, EventSearch, Window
from tests.core.findings import announcement, finding, recovery
from tests.store.state import State
from tests.web.past import BEGIN, Attempts


class Plans(list[str]):
    """What SQLite does for each statement that is run."""

    def __init__(self, db: Database) -> None:
        self.db, self.run = db, db.run
        db.run = self  # type: ignore[assignment, method-assign]

    def __call__(self, sql: str, parameters: Any = ()) -> Any:
        self.extend(str(row[3]) for row in self.run(f"EXPLAIN QUERY PLAN {sql}", parameters))
        return self.run(sql, parameters)


QUICK = [
    (AttemptSearch(), "USING INDEX notification_history_started_at"),
    (AttemptSearch(config_id="cfg_1"), "notification_history_config_id_started_at (config_id=?"),
    (AttemptSearch(connector_id="woo"), "notification_history_connector_id_started_at (connector_id=?"),
    (AttemptSearch(severity="critical"), "notification_history_severity_started_at (severity=?"),
    (AttemptSearch(success=False), "USING INDEX notification_history_failed"),
    (AttemptSearch(since=BEGIN), "notification_history_started_at (started_at>?"),
    (AttemptSearch(until=BEGIN), "notification_history_started_at (started_at<?"),
]


@pytest.mark.parametrize(("wanted", "plan"), QUICK, ids=str)
@pytest.mark.parametrize("before", [None, 100])
def test_a_page_is_found_by_an_index_and_never_sorted(
    db: Database, wanted: AttemptSearch, plan: str, before: int | None
) -> None:
    Attempts(db).write(200)
    plans = Plans(db)
    search.attempts(db, wanted, Window(before))
    assert plan.split(" (")[0] in str(plans)
    assert "TEMP B-TREE" not in str(plans)


def test_rows_as_json_are_the_rows_as_values(state: State) -> None:
    """The JSON that SQLite writes, and the values that the CLI shows, are the same."""
    state.tell(finding("1", connector_id="qb"), finding("2"), finding("3", error_type='"quoted" \\ ä \u2028'))
    state.fail(state.turn())
    db = state.db
    attempts = [json.loads(item) for item in search.attempts(db, AttemptSearch(), Window()).items]
    assert attempts == [reads.as_json(each) for each in reads.history(db).items]
    deliveries = [json.loads(item) for item in search.deliveries(db, DeliverySearch(), Window()).items]
    assert deliveries == [reads.as_json(each) for each in reads.deliveries(db).items]
    events = [json.loads(item) for item in search.events(db, EventSearch(), Window()).items]
    assert [event["id"] for event in events] == ["3", "2", "1"]
    assert events[0]["error_type"] == '"quoted" \\ ä \u2028'


def test_an_event_as_json_has_what_it_closes(state: State) -> None:
    state.tell(announcement("1"))
    state.send()
    state.tell(recovery("1"))
    newest = json.loads(search.events(state.db, EventSearch(), Window(limit=1)).items[0])
    assert newest["closes"] == {"id": "1", "event_type": "consecutive_failures"}


def test_attempts_that_began_at_one_moment_keep_their_order(db: Database) -> None:
    """Pages of any size, one after the other, are the whole: nothing twice, nothing left out."""
    Attempts(db).write(50)
    db.run("UPDATE notification_history SET started_at = (SELECT started_at FROM notification_history WHERE id = 25)")
    assert everything(db, 7) == list(range(50, 0, -1))


def everything(db: Database, limit: int) -> list[int]:
    """The ids of all pages."""
    seen: list[int] = []
    window: Window | None = Window(limit=limit)
    while window is not None:
        page = search.attempts(db, AttemptSearch(), window)
        seen += [json.loads(item)["id"] for item in page.items]
        window = Window(page.next, limit=limit) if page.next else None
    return seen


def test_the_order_is_that_of_the_clock(db: Database) -> None:
    """An attempt that a set-back clock dates earlier stands where its time is."""
    Attempts(db).write(10)
    earlier = BEGIN + timedelta(minutes=3, seconds=30)
    db.run(
        "UPDATE notification_history SET started_at = ? WHERE id = 10", [earlier.strftime("%Y-%m-%dT%H:%M:%S.000000Z")]
    )
    for limit in (3, 4, 50):
        assert everything(db, limit) == [9, 8, 7, 6, 5, 10, 4, 3, 2, 1]


def test_a_page_behind_a_row_that_retention_took_is_the_last(db: Database) -> None:
    Attempts(db).write(10)
    db.run("DELETE FROM notification_history WHERE id <= 5")
    assert search.attempts(db, AttemptSearch(), Window(before=3)) == search.JsonPage([], None)
