"""The reads of the state DB that listings and the API are made of."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import pytest

from notifyd.cli.options import LostState, State
from notifyd.clock import utc_now
from notifyd.core.ids import config_id
from notifyd.model import Outcome, Result
from notifyd.store import audit, outbox, precedence, reads
from notifyd.store.database import Database, StoreError, open_database
from notifyd.store.planning import LOST
from tests.cli.conftest import Past, from_beginning, hook
from tests.sinks.log import JobLog
from tests.system.site import Site

NOW = datetime(2026, 11, 24, 21, tzinfo=UTC)


def a_past(site: Site, jobs: JobLog, past: Past, failures: int) -> None:
    for n in range(failures):
        jobs.add("error", f"no {n}", job=f"job {n}")
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("one"), hook("two")])
    past.poll()
    past.attempt(Outcome(Result.REJECTED, "410 Gone", 410))


def pages(db: Database, size: int) -> list[list[int]]:
    """The ids of every page of the history, the pages one after another."""
    found: list[list[int]] = []
    before = None
    while len(found) < 10:
        page = reads.history(db, config=config_id("one"), before=before, limit=size)
        found.append([attempt.id for attempt in page.items])
        if (before := page.next) is None:
            break
    return found


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7])
def test_pages_are_the_whole_cut_anywhere(site: Site, jobs: JobLog, past: Past, size: int) -> None:
    a_past(site, jobs, past, failures=6)
    with reads.opened(site.settings().daemon.state) as db:
        whole = [attempt.id for attempt in reads.history(db, config=config_id("one"), limit=200).items]
        cut = pages(db, size)
    assert [each for page in cut for each in page] == whole == sorted(whole, reverse=True)
    assert all(len(page) == size for page in cut[:-1])
    assert cut[-1]


def test_deliveries_page_too(site: Site, jobs: JobLog, past: Past) -> None:
    a_past(site, jobs, past, failures=3)
    with reads.opened(site.settings().daemon.state) as db:
        first = reads.deliveries(db, state="dead", limit=4)
        rest = reads.deliveries(db, state="dead", limit=4, before=first.next)
    assert (len(first.items), len(rest.items), rest.next) == (4, 2, None)
    assert len({delivery.id for delivery in (*first.items, *rest.items)}) == 6


def test_a_delivery_has_the_name_of_its_config_and_the_title_of_its_first_event(
    site: Site, jobs: JobLog, past: Past
) -> None:
    a_past(site, jobs, past, failures=1)
    with reads.opened(site.settings().daemon.state) as db:
        items = reads.deliveries(db).items
    assert [(each.config_name, each.title, each.state, each.error) for each in items] == [
        ("two", "Sync Error: quickbooks", "dead", "410 Gone"),
        ("one", "Sync Error: quickbooks", "dead", "410 Gone"),
    ]


def test_there_is_no_state_db_until_a_daemon_made_one(site: Site) -> None:
    with (
        pytest.raises(StoreError, match=f"there is no state DB at {site.state}"),
        reads.opened(f"sqlite:///{site.state}"),
    ):
        pass
    assert not site.state.exists()


def test_a_broken_state_db_is_one_line(site: Site, jobs: JobLog, past: Past) -> None:
    """Also where it is found out only in the middle of a read."""
    a_past(site, jobs, past, failures=1)
    with (
        pytest.raises(StoreError, match="cannot be used: no such table"),
        reads.opened(f"sqlite:///{site.state}") as db,
    ):
        db.run("SELECT * FROM nowhere")


def test_a_snapshot_does_not_see_what_is_written_meanwhile(site: Site, jobs: JobLog, past: Past) -> None:
    a_past(site, jobs, past, failures=1)
    with reads.opened(f"sqlite:///{site.state}") as db, reads.snapshot(db):
        now = utc_now()
        before = audit.status(db, now)
        with closing(open_database(f"sqlite:///{site.state}", create=False)) as writer:
            outbox.enqueue_test(writer, "cfg_x", "one", NOW)
        assert audit.status(db, now) == before
        assert audit.status(db, now).differences == []


def test_what_is_put_first_is_claimed_before_a_backlog(site: Site, jobs: JobLog, past: Past) -> None:
    a_past(site, jobs, past, failures=3)
    with closing(open_database(f"sqlite:///{site.state}", create=False)) as db:
        outbox.requeue(db, [each.id for each in reads.deliveries(db).items], NOW)
        config = reads.deliveries(db, config=config_id("one")).items[0].config_id
        test = outbox.enqueue_test(db, config, "one", NOW)
        precedence.put_first(db, test)
        (first, *_) = db.run("SELECT id FROM deliveries WHERE config_id = ? ORDER BY due_at, seq", [config])
    assert first == (test,)


def test_the_states_that_can_be_asked_for_are_those_that_there_are() -> None:
    assert tuple(State) == audit.STATES
    assert "(" + ", ".join(f"'{state}'" for state in LostState) + ")" == LOST
