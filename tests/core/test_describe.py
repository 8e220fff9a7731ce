"""The words of events: what a person is told, and what to do next."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from notifyd.core import advice, describe, digests, notices
from notifyd.core.rules import Advice, Origin, Rules
from notifyd.model import Closes, Event, EventType, Severity
from tests.core.logs import NOON, RULES, RUNS, at, fold, row, tick


def told(message: str | None, rules: Rules = RULES, **values: Any) -> Event:
    """The event of one failed row."""
    return fold(row("k1", "failure", message=message, **values), rules=rules, origin=RUNS).events[0]


# -- failures ------------------------------------------------------------------------------------


def test_a_sync_error() -> None:
    event = told("order 7 is not complete", run_id="s1")
    assert (event.event_type, event.severity, event.error_type) == (
        EventType.SYNC_ERROR,
        Severity.ERROR,
        "sync_failure",
    )
    assert event.title == "Sync Error: woo - orders"
    assert event.message == "order 7 is not complete"
    assert event.details == {"sync_id": "s1", "connector": "woo", "entity": "orders"}
    assert (event.connector_id, event.entity_type) == ("woo", "orders")
    assert event.suggested_actions == advice.ACTIONS[EventType.SYNC_ERROR]


def test_a_rate_limit_concerns_every_entity_type() -> None:
    event = told("500: WooCommerce rate limit exceeded")
    assert (event.event_type, event.severity, event.error_type) == (
        EventType.RATE_LIMIT,
        Severity.WARNING,
        "rate_limit",
    )
    assert event.title == "Rate Limit Reached: woo"
    assert event.message == "The API rate limit of woo was reached. Retry with exponential backoff."
    assert event.details == {"connector": "woo", "error": "500: WooCommerce rate limit exceeded"}
    assert event.entity_type is None


def test_a_rate_limit_that_says_when_to_come_again() -> None:
    event = told("429: rate limit exceeded, retry after 30 seconds")
    assert event.message == "The API rate limit of woo was reached. Retry after 30 seconds."
    assert event.details["retry_after"] == "30"


def test_a_connection_failure_concerns_every_entity_type() -> None:
    event = told("connection refused")
    assert (event.event_type, event.severity, event.error_type) == (
        EventType.CONNECTION_FAILURE,
        Severity.CRITICAL,
        "connection_failure",
    )
    assert event.title == "Connection Failed: woo"
    assert event.message == "Failed to connect to woo: connection refused"
    assert event.details == {"connector": "woo", "error": "connection refused"}
    assert event.entity_type is None


def test_without_a_connector_the_schedule_is_named() -> None:
    event = told(None, connector_id=None, entity_type=None, schedule_id="stock")
    assert event.title == "Sync Error: stock"


def test_a_log_that_names_neither_connector_nor_text() -> None:
    event = told(None, connector_id=None, entity_type=None, schedule_id=None)
    assert event.title == "Sync Error: shop"
    assert event.message == "the log gives no error text"
    assert event.details == {"connector": "shop"}
    assert event.connector_id is None


def test_the_row_s_own_details_are_kept() -> None:
    event = told("order 7", details={"entity_id": "7", "connector": "not this"})
    assert event.details == {"entity_id": "7", "connector": "woo", "entity": "orders"}


def test_where_it_happened_and_when() -> None:
    event = told("order 7", tenant_id="T", run_id="s1", finished_at=at(3), read=9)
    assert (event.tenant_id, event.schedule_id, event.run_id, event.source) == ("T", "nightly", "s1", "shop")
    assert event.timestamp == at(3)


# -- streaks -------------------------------------------------------------------------------------


def test_a_streak() -> None:
    log = [row(n, "failure", n, run_id=f"s{n}", tenant_id="T") for n in (1, 2, 3)]
    event = fold(*log, origin=RUNS).events[-1]
    assert (event.event_type, event.severity) == (EventType.CONSECUTIVE_FAILURES, Severity.CRITICAL)
    assert event.error_type == "consecutive_failures"
    assert event.title == "Multiple Sync Failures: woo"
    assert event.message == (
        "woo (orders, schedule nightly) failed 3 times in a row. Manual intervention may be required.\n"
        "Last error: order 7 is not complete"
    )
    assert event.details == {"connector": "woo", "failure_count": "3", "since": "2026-11-24T12:01:00.000000Z"}
    assert (event.tenant_id, event.schedule_id) == ("T", "nightly")
    assert event.suggested_actions == advice.ACTIONS[EventType.CONSECUTIVE_FAILURES]


def last_error(event: Event) -> str:
    return event.message.partition("Last error: ")[2]


def test_a_streak_tells_its_newest_error_in_any_order() -> None:
    log = [row(n, "failure", n, message=f"order {n}", read=5) for n in (3, 1, 2)]
    assert last_error(fold(*log, origin=RUNS).events[-1]) == "order 3"


def test_a_streak_s_error_is_one_line_and_cut() -> None:
    log = [row(n, "failure", n, message="no\n  stock " * 100) for n in (1, 2, 3)]
    error = last_error(fold(*log, origin=RUNS).events[-1])
    assert len(error) == describe.LAST_ERROR_LIMIT
    assert error.startswith("no stock no stock")
    assert error.endswith("…")


def test_a_streak_of_errors_without_a_text_says_none() -> None:
    log = [row(n, "failure", n, message=None) for n in (1, 2, 3)]
    assert "Last error" not in fold(*log, origin=RUNS).events[-1].message


def test_a_reminder_tells_the_newest_error() -> None:
    log = [row(n, "failure", n, message=f"order {n}") for n in (1, 2, 3, 4)]
    event = fold(*log, tick(24 * 60 + 5), origin=RUNS).events[-1]
    assert event.event_type is EventType.CONSECUTIVE_FAILURES
    assert last_error(event) == "order 4"


@pytest.mark.parametrize("rows", ["runs", "records"])
def test_what_works_keeps_no_error_text(rows: Any) -> None:
    failed = [row(n, "failure", n, run_id=f"s{n}") for n in (1, 2)]
    told = fold(*failed, row(3, "success", 3, run_id="s3"), tick(60), origin=Origin("shop", "shop-db", rows=rows))
    assert [streak.last_error for streak in told.memory.streaks.values()] == [None]


def test_where_the_schedule_is_the_subject_it_is_said_once() -> None:
    log = [row(n, "failure", n, connector_id=None, entity_type=None) for n in (1, 2, 3)]
    assert fold(*log, origin=RUNS).events[-1].message.startswith("nightly failed 3 times in a row.")


def test_a_recovery() -> None:
    log = [row(n, "failure", n) for n in (1, 2, 3)]
    event = fold(*log, row(4, "success", 4), origin=RUNS).events[-1]
    assert (event.event_type, event.severity, event.error_type) == (EventType.RECOVERED, Severity.INFO, None)
    assert event.title == "Recovered: woo"
    assert event.message == "woo (orders, schedule nightly) succeeded again after 3 failed runs in a row."
    assert event.details == {"connector": "woo", "failure_count": "3", "since": "2026-11-24T12:01:00.000000Z"}


def test_a_test() -> None:
    event = notices.test_event("ops-mail", "token", NOON)
    assert (event.event_type, event.severity, event.title) == (EventType.TEST, Severity.INFO, "Test Notification")
    assert "ops-mail" in event.message
    assert event.id != notices.test_event("ops-mail", "another", NOON).id


def test_every_event_type_has_a_severity() -> None:
    assert set(advice.SEVERITIES) == set(EventType)


# -- what to do next -----------------------------------------------------------------------------


def test_what_only_better_credentials_mend_says_so() -> None:
    assert told("401: Invalid QuickBooks credentials or expired token").suggested_actions == advice.AUTH_ACTIONS


def test_the_admin_s_advice_replaces_ours_and_the_runbook_comes_last() -> None:
    rules = Rules(advice=(Advice(("Call Ada",), runbook="https://wiki.example/woo", connector="woo"),))
    assert told("order 7", rules).suggested_actions == ("Call Ada", "Runbook: https://wiki.example/woo")
    assert told("order 7", rules, connector_id="quickbooks").suggested_actions == advice.ACTIONS[EventType.SYNC_ERROR]


def test_a_runbook_alone_is_added_to_ours() -> None:
    rules = Rules(advice=(Advice(runbook="https://wiki.example"),))
    steps = advice.ACTIONS[EventType.SYNC_ERROR]
    assert told("order 7", rules).suggested_actions == (*steps, "Runbook: https://wiki.example")


def test_the_most_specific_advice_wins() -> None:
    general, typed = Advice(("any",)), Advice(("any rate limit",), event_type=EventType.RATE_LIMIT)
    mine = Advice(("woo",), connector="woo")
    both = Advice(("woo's rate limit",), connector="woo", event_type=EventType.RATE_LIMIT)
    rules = Rules(advice=(general, mine, typed, both))
    assert told("rate limit exceeded", rules).suggested_actions == ("woo's rate limit",)
    assert told("order 7", rules).suggested_actions == ("woo",)
    assert told("rate limit exceeded", rules, connector_id="qb").suggested_actions == ("any rate limit",)
    assert told("order 7", rules, connector_id="qb").suggested_actions == ("any",)


def test_advice_for_streaks() -> None:
    rules = Rules(advice=(Advice(("Pause it",), event_type=EventType.CONSECUTIVE_FAILURES),))
    log = [row(n, "failure", n) for n in (1, 2, 3)]
    assert fold(*log, rules=rules, origin=RUNS).events[-1].suggested_actions == ("Pause it",)


# -- when to come again --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("retry after 30 seconds", "30"),
        ("Retry-After: 30", "30"),
        ("retry_after=30", "30"),
        ("retry after 30s", "30"),
        ("retry after 1 sec", "1"),
        ("Sync blocked by circuit breaker: X (retry after 41234ms)", "42"),
        ("retry after 1500 milliseconds", "2"),
        ("retry after 29000 ms", "29"),
        ("please retry after 2 minutes", "120"),
        ("retry after 5m", "300"),
        ("retry after 5 min", "300"),
        ("retry after 1 hour", "3600"),
        ("retry after 1.5 seconds", "2"),
        ("Retry after 30.", "30"),
        ("retry after 2026-11-24T21:00:00Z", None),
        ("try again later", None),
        ("retry after a while", None),
        ("retry after 12345678901 seconds", None),
    ],
)
def test_retry_after(text: str, seconds: str | None) -> None:
    assert describe.retry_after(text) == seconds


# -- digests -------------------------------------------------------------------------------------


def digest(*events: Event, count: int = 0) -> Event:
    first, last = events[0].timestamp, events[-1].timestamp
    return digests.digest(events, count or len(events), first, last, "dlv_1")


def test_the_headline_of_one_kind_of_event() -> None:
    events = [told("order 7", occurred_at=at(n), read=20) for n in range(3)]
    headline = digest(*events, count=500)
    assert headline.id == "dlv_1"
    assert headline.title == "500 × Sync Error: woo - orders"
    assert headline.message == (
        "500 events between 2026-11-24 12:00:00 UTC and 2026-11-24 12:02:00 UTC. The latest: order 7"
    )
    assert headline.timestamp == at(2)
    assert headline.details == {
        "count": "500",
        "first": "2026-11-24T12:00:00.000000Z",
        "last": "2026-11-24T12:02:00.000000Z",
    }
    assert headline.suggested_actions == advice.ACTIONS[EventType.SYNC_ERROR]


def test_the_headline_of_one_type_about_several_things() -> None:
    headline = digest(told("order 7"), told("item 8", entity_type="items"))
    assert headline.title == "2 events: Sync Error"
    assert (headline.connector_id, headline.entity_type) == ("woo", None)


def test_a_mixed_headline_is_as_severe_as_the_worst() -> None:
    headline = digest(told("rate limit exceeded"), told("connection refused"), told("order 7"))
    assert headline.severity is Severity.CRITICAL
    assert headline.title == "3 events: Connection Failed: woo and others"
    assert headline.suggested_actions == advice.ACTIONS[EventType.CONNECTION_FAILURE]


def test_a_headline_says_that_what_it_tells_is_over() -> None:
    log = [row(n, "failure", n) for n in (1, 2, 3)]
    streak, recovery = fold(*log, row(4, "success", 4), origin=RUNS).events[-2:]
    assert digest(streak, recovery).title == "2 events: Multiple Sync Failures: woo, ended since"
    assert digest(streak, recovery, count=9).title == "9 events: Multiple Sync Failures: woo and others"
    assert digest(streak, replace(streak, id="another"), recovery).title.endswith(" and others")


def test_a_headline_carries_only_what_all_events_share() -> None:
    one, other = told("order 7", run_id="s1", tenant_id="T"), told("order 8", run_id="s2", tenant_id="U")
    headline = digest(one, replace(other, source="backoffice"))
    assert headline.source is None
    assert (headline.run_id, headline.tenant_id, headline.schedule_id) == (None, None, "nightly")


def test_a_headline_does_not_close_anything() -> None:
    log = [row(n, "failure", n) for n in (1, 2, 3)]
    recovery = fold(*log, row(4, "success", 4), origin=RUNS).events[-1]
    assert digest(recovery, recovery).closes is None


def test_a_digest_of_credentials_and_data_advises_about_both() -> None:
    headline = digest(told("order 7"), told("401: Invalid credentials"))
    assert headline.suggested_actions == (*advice.ACTIONS[EventType.SYNC_ERROR], *advice.AUTH_ACTIONS)


def test_the_words_of_a_digest_do_not_depend_on_the_clock() -> None:
    events = [told("order 7"), told("order 8")]
    assert digest(*events) == digest(*events)
    later = digests.digest(tuple(events), 2, NOON, NOON + timedelta(hours=1), "dlv_1")
    assert later.timestamp == NOON + timedelta(hours=1)


def test_the_end_of_an_outage_says_what_came_too_late() -> None:
    def message(expired: int) -> str:
        return notices.channel_recovered("ops", "evt", NOON, NOON, in_use=True, expired=expired).message

    assert "too old" not in message(0)
    assert message(1).endswith(" 1 event was too old to be told to its people by then.")
    assert message(3).endswith(" 3 events were too old to be told to its people by then.")


@pytest.mark.parametrize(
    ("dead", "given_up"),
    [
        (0, ""),
        (1, " (1 was given up, and can be sent again with `notifyd retry`)"),
        (2, " (2 were given up, and can be sent again with `notifyd retry`)"),
    ],
)
def test_a_channel_that_fails_says_what_was_given_up(dead: int, given_up: str) -> None:
    event = notices.channel_failing("c1", "ops", NOON, "HTTP 410: gone", NOON, Rules(), dead=dead)
    beginning = "Deliveries to ops keep failing since 2026-11-24 12:00:00 UTC, so its people are not told"
    assert event.message == f"{beginning}{given_up}: HTTP 410: gone"
    assert event.details["given_up"] == str(dead)


@pytest.mark.parametrize(
    ("in_use", "message"),
    [
        (True, "ops delivers again, after an outage since 2026-11-24 12:00:00 UTC."),
        (False, "ops is not used any more, after an outage since 2026-11-24 12:00:00 UTC."),
    ],
)
def test_the_end_of_an_outage_says_which_end(in_use: bool, message: str) -> None:
    event = notices.channel_recovered("ops", "evt", NOON, NOON, in_use=in_use)
    assert (event.title, event.message) == ("Recovered: ops", message)
    assert event.closes == Closes("evt", "channel_failing")


@pytest.mark.parametrize(("count", "what"), [(1, "1 event was"), (3, "3 events were")])
def test_what_expired_is_counted_in_its_notice(count: int, what: str) -> None:
    event = notices.told_too_late("c1", "ops", count, "dlv_1", NOON, NOON)
    found = "the oldest found about 2026-11-24 12:00:00 UTC, and expired."
    assert event.message == f"{what} not delivered in time, {found}"
