"""`notifyd history`, `deliveries` and `retry`."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from notifyd.cli.listings import ATTEMPT_COLUMNS
from notifyd.model import Outcome, Result
from tests.cli.conftest import Notifyd, Past, from_beginning, hook
from tests.sinks.log import JobLog
from tests.system.site import Site

REFUSED = Outcome(Result.REJECTED, "422 Unprocessable", 422)


@pytest.fixture
def sent(site: Site, jobs: JobLog, past: Past) -> None:
    """Two failures, told to two configs: one rate limit and one error."""
    jobs.add("error", "500: rate limit exceeded", job="a", connector="woocommerce")
    jobs.add("error", "500: out of stock", job="b")
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("one"), hook("two")])
    past.poll()
    past.attempt(REFUSED)


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize(
    ("options", "count"),
    [
        ([], 4),
        (["--config-name", "one"], 2),
        (["--severity", "warning"], 2),
        (["--connector", "quickbooks"], 2),
        (["--failed"], 4),
        (["--config-name", "one", "--severity", "error", "--connector", "quickbooks", "--failed"], 1),
        (["--limit", "3"], 3),
        (["--before", "2"], 1),
    ],
)
def test_history_is_filtered(notifyd: Notifyd, options: list[str], count: int) -> None:
    assert len(notifyd("history", "--json", *options).items) == count


@pytest.mark.usefixtures("sent")
def test_history_as_json_is_what_the_api_gives(site: Site, notifyd: Notifyd) -> None:
    answer = notifyd("history", "--json", "--limit", "1")
    (item,) = answer.items
    columns = [row[1] for row in site.query("PRAGMA table_info(notification_history)")]
    assert list(item) == columns
    assert (item["success"], item["status_code"], item["error"]) == (False, 422, "422 Unprocessable")
    assert datetime.fromisoformat(item["started_at"]).tzinfo is not None
    assert answer.json["next"] == item["id"]


@pytest.mark.usefixtures("sent")
def test_history_for_people(notifyd: Notifyd) -> None:
    answer = notifyd("history", "--limit", "3")
    header, _, *rows, more = answer.stdout.splitlines()
    assert header.split() == list(ATTEMPT_COLUMNS)
    assert len(rows) == 3
    assert all("422 Unprocessable" in row and "rejected" in row for row in rows)
    assert more.startswith("older ones: --before ")


@pytest.mark.parametrize("limit", ["0", "201", "many"])
def test_a_limit_out_of_range_is_wrong_use(notifyd: Notifyd, limit: str) -> None:
    assert notifyd("history", "--limit", limit).exit_code == 2


@pytest.mark.usefixtures("sent")
def test_deliveries_by_state_and_config(notifyd: Notifyd, past: Past) -> None:
    assert len(notifyd("deliveries", "--json").items) == 4
    assert len(notifyd("deliveries", "--json", "--state", "dead", "--config-name", "two").items) == 2
    assert notifyd("deliveries", "--json", "--state", "sent").items == []
    assert notifyd("deliveries", "--state", "sent").stdout == "no deliveries\n"
    (item, *_) = notifyd("deliveries", "--json").items
    assert {"id", "config_name", "state", "due_at", "count", "attempts", "error"} <= item.keys()
    assert item["id"] in notifyd("deliveries").stdout


# -- retry -------------------------------------------------------------------------------------------


def dead(notifyd: Notifyd, *options: str) -> list[str]:
    return [item["id"] for item in notifyd("deliveries", "--json", "--state", "dead", *options).items]


@pytest.mark.usefixtures("sent")
def test_retry_gives_a_new_life(notifyd: Notifyd, past: Past) -> None:
    first, *rest = dead(notifyd)
    answer = notifyd("retry", first)
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert answer.stdout == "1 will be sent again, once a daemon runs: none does now\n"
    assert dead(notifyd) == rest
    (claimed,) = past.attempt()
    assert (claimed.notification.id, claimed.attempt, claimed.tries) == (first, 2, 1)


@pytest.mark.usefixtures("sent")
def test_retry_of_all_that_are_dead(notifyd: Notifyd) -> None:
    ones = dead(notifyd, "--config-name", "one")
    answer = notifyd("retry", "--state", "dead", "--config-name", "one", "--json")
    assert sorted(answer.items) == sorted(ones)  # type: ignore[type-var]
    assert len(dead(notifyd)) == 2
    assert notifyd("retry", "--state", "dead").stdout.startswith("2 will be sent again")
    assert notifyd("retry", "--state", "dead").stdout == "nothing to send again\n"


@pytest.mark.usefixtures("sent")
def test_retry_says_of_each_id_why_not(notifyd: Notifyd, past: Past) -> None:
    first, second, *_ = dead(notifyd)
    notifyd("retry", first)
    past.attempt()
    answer = notifyd("retry", first, second, "dlv_nobody")
    assert answer.exit_code == 1
    assert answer.stdout.startswith("1 will be sent again")
    assert answer.stderr.splitlines() == [
        f"{first}: it is sent: only what is dead, expired or cancelled can be sent again",
        "dlv_nobody: there is no such delivery; `notifyd deliveries` lists them",
        "2 of 3 cannot be sent again",
    ]


@pytest.mark.usefixtures("sent")
def test_retry_refuses_what_nobody_would_send(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    (identity, *_) = dead(notifyd, "--config-name", "two")
    site.write(sources=[jobs.source("jobs")], notifications=[hook("one"), hook("two", enabled=False)])
    past.poll()
    answer = notifyd("retry", identity)
    assert answer.exit_code == 1
    assert f"{identity}: its config two is disabled, so nothing would be sent" in answer.stderr
    site.write(sources=[jobs.source("jobs")], notifications=[hook("one")])
    past.poll()
    assert "its config two was deleted" in notifyd("retry", identity).stderr
    left = notifyd("retry", "--state", "dead", "--config-name", "two")
    assert (left.exit_code, left.stdout) == (0, "nothing to send again\n")
    assert left.stderr == "2 deliveries of configs that are disabled or deleted: left dead\n"


@pytest.mark.parametrize("arguments", [[], ["dlv_1", "--state", "dead"], ["dlv_1", "--config-name", "one"]])
def test_retry_used_wrongly(site: Site, notifyd: Notifyd, arguments: list[str]) -> None:
    site.write(sources=[], notifications=[])
    answer = notifyd("retry", *arguments)
    assert (answer.exit_code, answer.stdout, len(answer.stderr.splitlines())) == (2, "", 1)


def test_a_delivery_that_waits_says_until_when(site: Site, jobs: JobLog, past: Past, notifyd: Notifyd) -> None:
    jobs.add("error", "no")
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    past.attempt(Outcome(Result.RETRY, "503", 503), retry_in=timedelta(hours=1))
    (item,) = notifyd("deliveries", "--json").items
    due = datetime.fromisoformat(item["due_at"]).astimezone()
    assert f"{due:%Y-%m-%d %H:%M:%S}" in notifyd("deliveries").stdout
