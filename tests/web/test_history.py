"""/history: found by what it holds, page by page, and with all that led to an attempt."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from notifyd.store.database import open_database
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, until, webhook
from tests.web.conftest import Api, Serving, hook
from tests.web.past import Attempts


@pytest.fixture
async def past(write: Any, serving: Serving, site: Site, sink: HttpSink) -> Any:
    """The API of a daemon whose history has 500 attempts, one a minute."""
    write(webhook("ops", sink.url))
    database = open_database(f"sqlite:///{site.state}", create=True)
    Attempts(database).write(500)
    database.close()
    async with serving() as api:
        yield api


async def everything(api: Api, path: str = "/history", **query: Any) -> list[dict[str, Any]]:
    """All pages."""
    page = await api.get(path, **query)
    found: list[dict[str, Any]] = page["items"]
    while page["next"] is not None:
        page = await api.get(path, before=page["next"], **query)
        found += page["items"]
    return found


async def test_all_of_it_newest_first(past: Api) -> None:
    found = await everything(past, limit=7)
    assert [each["id"] for each in found] == list(range(500, 0, -1))
    assert len((await past.get("/history"))["items"]) == 50
    assert len((await past.get("/history", limit=200))["items"]) == 200


async def test_pages_stay_as_they_are_whatever_is_written_meanwhile(past: Api, sink: HttpSink) -> None:
    first = await past.get("/history", limit=10)
    for _ in range(3):
        await past.post("/test", hook(sink.url))
    second = await past.get("/history", limit=10, before=first["next"])
    assert [each["id"] for each in first["items"] + second["items"]] == list(range(500, 480, -1))


async def test_an_offset_for_those_who_count(past: Api) -> None:
    page = await past.get("/history", offset=100, limit=3)
    assert [each["id"] for each in page["items"]] == [400, 399, 398]
    assert (await past.get("/history", offset=600))["items"] == []
    assert [each["id"] for each in (await past.get("/history", before=page["next"], limit=1))["items"]] == [397]


FOUND = [
    ({"severity": "critical"}, lambda a: a["severity"] == "critical"),
    ({"connector_id": "woo"}, lambda a: a["connector_id"] == "woo"),
    ({"entity_type": "orders"}, lambda a: a["entity_type"] == "orders"),
    ({"event_type": "rate_limit"}, lambda a: a["event_type"] == "rate_limit"),
    ({"config_id": "cfg_2"}, lambda a: a["config_id"] == "cfg_2"),
    ({"success": "false"}, lambda a: a["success"] is False),
    ({"success": "true"}, lambda a: a["success"] is True),
    ({"text": "OUT OF stock"}, lambda a: "out of stock" in (a["error"] or "")),
    ({"text": "100%_"}, lambda a: "100%_" in (a["error"] or "")),
    ({"since": "2026-01-01T01:00:00Z"}, lambda a: a["started_at"] >= "2026-01-01T01:00:00"),
    ({"until": "2026-01-01T01:00:00Z"}, lambda a: a["started_at"] < "2026-01-01T01:00:00"),
    ({"since": "2026-01-01T03:00:00+02:00", "until": "2026-01-01T02:00:00Z"},
     lambda a: "01:00" <= a["started_at"][11:] < "02:00"),
    ({"connector_id": "woo", "severity": "error", "success": "false"},
     lambda a: (a["connector_id"], a["severity"], a["success"]) == ("woo", "error", False)),
]  # fmt: skip


async def test_it_is_found_by_what_it_holds(past: Api) -> None:
    whole = await everything(past, limit=200)
    for query, holds in FOUND:
        expected = [each for each in whole if holds(each)]
        assert 0 < len(expected) < len(whole), query
        assert await everything(past, limit=13, **query) == expected, query
    assert await everything(past, connector_id="nobody") == []


async def test_a_wrong_question_is_refused_with_its_parameter(past: Api) -> None:
    for query, parameter, text in (
        ({"limit": 0}, "limit", "must be at least 1"),
        ({"limit": -1}, "limit", "must be at least 1"),
        ({"limit": 201}, "limit", "must be at most 200"),
        ({"limit": "many"}, "limit", "expected a whole number"),
        ({"offset": -1}, "offset", "must be at least 0"),
        ({"before": 10**30}, "before", "expected a whole number"),
        ({"severity": "bad"}, "severity", 'must be "info", "warning", "error" or "critical"'),
        ({"event_type": "sync"}, "event_type", "must be"),
        ({"success": "maybe"}, "success", "expected true or false"),
        ({"since": "yesterday"}, "since", "expected a time such as"),
        ({"since": "1732492800"}, "since", "expected a time such as"),
        ({"until": "2026-02-30T00:00:00Z"}, "until", "expected a time such as"),
        ({"connector": "woo"}, "connector", "unknown"),
        ({"limit": ["1", "2"]}, "limit", "is given more than once"),
    ):
        problem = await past.get("/history", 422, **query)
        (error,) = problem["errors"]
        assert error["parameter"] == parameter, query
        assert text in error["detail"], query


async def test_one_attempt_with_all_that_led_to_it(api: Api, sink: HttpSink, jobs: JobLog, site: Site) -> None:
    dropped = await api.make(**hook(sink.url, "picky", filters={"connectors": ["nobody"]}))
    sink.script = [503]
    jobs.add("error", "no such order")
    await until(lambda: site.states("ops") == ["retrying"])
    (attempt,) = (await api.get("/history"))["items"]
    full = await api.get(f"/history/{attempt['id']}")
    assert full["attempt"] == full["attempts"][0] == attempt
    assert (full["delivery"]["state"], full["delivery"]["attempts"]) == ("retrying", 1)
    assert full["event"]["message"] == "no such order"
    verdicts = {each["config_name"]: each for each in full["event"]["verdicts"]}
    assert (verdicts["ops"]["decided"], verdicts["ops"]["delivery_id"]) == ("planned", attempt["delivery_id"])
    assert (verdicts["picky"]["config_id"], verdicts["picky"]["decided"]) == (dropped["id"], "dropped")
    assert "is not among nobody" in verdicts["picky"]["reason"]
    assert [event["id"] for event in full["events"]] == [full["event"]["id"]]
    assert (await api.get("/history/99", 404))["error"] == "there is no attempt 99"


async def test_an_attempt_under_way_is_there(api: Api, sink: HttpSink, jobs: JobLog) -> None:
    ends = asyncio.Event()

    async def answer(_: Any) -> int:
        await ends.wait()
        return 200

    sink.answer = answer
    jobs.add("error", "no")
    await sink.wait_for(1)
    (attempt,) = (await api.get("/history"))["items"]
    assert (attempt["success"], attempt["finished_at"], attempt["error"]) == (None, None, None)
    assert (await api.get("/history", success="true"))["items"] == []
    ends.set()
