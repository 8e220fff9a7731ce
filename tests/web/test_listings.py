"""Events, deliveries and their second life, plugins, sources, schedules, the books and the trail."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, until, webhook
from tests.web.conftest import SLACK, Api, Serving, hook


async def test_events_are_found_told_or_not(api: Api, sink: HttpSink, jobs: JobLog) -> None:
    jobs.add("error", "no such order", job="1")
    await sink.wait_for(1)
    (event,) = (await api.get("/events"))["items"]
    assert (event["event_type"], event["message"], event["untold"]) == ("sync_error", "no such order", False)
    assert event["source"] == "jobs"
    assert (await api.get("/events", text="ORDER"))["items"] == [event]
    assert (await api.get("/events", untold="true"))["items"] == []
    assert (await api.get("/events", since=event["found_at"]))["items"] == [event]
    assert (await api.get("/events", until=event["found_at"]))["items"] == []
    full = await api.get(f"/events/{event['id']}")
    assert full.pop("verdicts")[0]["decided"] == "planned"
    assert full == event
    await api.get("/events/evt_nope", 404)
    await api.get(f"/events/{(await api.get('/deliveries'))['items'][0]['id']}", 404)


async def test_events_come_page_by_page(api: Api, sink: HttpSink, jobs: JobLog) -> None:
    jobs.write(jobs.row("error", f"error {n}", job=f"job {n}") for n in range(25))
    await sink.wait_for(25)
    seen: list[str] = []
    before: dict[str, Any] = {}
    while True:
        page = await api.get("/events", limit=10, **before)
        seen += [event["message"] for event in page["items"]]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert sorted(seen) == sorted(f"error {n}" for n in range(25))


async def dead(api: Api, sink: HttpSink, jobs: JobLog, site: Site, count: int = 1) -> list[dict[str, Any]]:
    """Deliveries that the endpoint refused for good."""
    sink.answer = 400
    jobs.write(jobs.row("error", "no", job=f"job {n}") for n in range(count))
    await until(lambda: site.states("ops") == ["dead"] * count)
    sink.answer = 200
    return list((await api.get("/deliveries", state="dead"))["items"])


async def test_a_dead_delivery_gets_a_second_life(api: Api, sink: HttpSink, jobs: JobLog, site: Site) -> None:
    (lost,) = await dead(api, sink, jobs, site)
    retried = await api.post(f"/deliveries/{lost['id']}/retry")
    assert (retried["id"], retried["error"]) == (lost["id"], None)
    await until(lambda: site.states("ops") == ["sent"])
    assert len({request.headers["webhook-id"] for request in sink.requests}) == 1
    problem = await api.post(f"/deliveries/{lost['id']}/retry", status=409)
    assert "it is sent: only what is dead, expired or cancelled" in problem["error"]
    assert (await api.post("/deliveries/dlv_nope/retry", status=404))["error"] == "dlv_nope: there is no such delivery"


async def test_a_delivery_says_what_it_told_and_what_became_of_it(
    api: Api, sink: HttpSink, jobs: JobLog, site: Site
) -> None:
    (lost,) = await dead(api, sink, jobs, site)
    found = await api.get(f"/deliveries/{lost['id']}")
    assert found["delivery"] == lost
    assert [event["verdicts"][0]["delivery_id"] for event in found["events"]] == [lost["id"]]
    assert found["attempts"] == (await api.get("/history"))["items"]
    assert found["waits_for"] is None
    assert (await api.get("/deliveries/dlv_nope", 404))["error"] == "dlv_nope: there is no such delivery"


async def test_all_that_is_dead_gets_one(api: Api, sink: HttpSink, jobs: JobLog, site: Site) -> None:
    lost = await dead(api, sink, jobs, site, 5)
    problem = await api.post("/deliveries/retry", {"state": "dead", "config_id": "cfg_nope"}, 404)
    assert problem["error"] == "there is no config cfg_nope"
    done = await api.post("/deliveries/retry", {"state": "dead", "config_id": lost[0]["config_id"]})
    assert sorted(done["items"]) == sorted(each["id"] for each in lost)
    await until(lambda: site.states("ops") == ["sent"] * 5)
    for body in ({}, {"state": "sent"}, {"state": "dead", "all": True}, {"state": "dead", "config_id": 7}, [], "x"):
        await api.post("/deliveries/retry", body, 422)
    assert site.imbalances() == []


async def test_what_belongs_to_nobody_any_more_stays_lost(api: Api, sink: HttpSink, jobs: JobLog, site: Site) -> None:
    made = await api.make(**hook(sink.url, "gone"))
    sink.answer = 400
    jobs.add("error", "no")
    await until(lambda: site.states("gone") == ["dead"])
    await api.post("/test", hook(sink.url, "never saved"), 502)
    (lost,) = (await api.get("/deliveries", config_id=made["id"]))["items"]
    await api.delete(f"/configs/{made['id']}")
    problem = await api.post(f"/deliveries/{lost['id']}/retry", status=409)
    assert problem["error"] == f"{lost['id']}: its config gone was deleted, so nothing would be sent"
    (test,) = [each for each in (await api.get("/deliveries"))["items"] if each["config_name"] == "never saved"]
    await api.post(f"/deliveries/{test['id']}/retry", status=409)
    assert len((await api.post("/deliveries/retry", {"state": "dead"}))["items"]) == 1  # that of ops


# -- plugins -----------------------------------------------------------------------------------------


async def test_a_form_can_be_drawn_from_what_a_channel_takes(api: Api) -> None:
    channels = {each["name"]: each for each in (await api.get("/channels"))["items"]}
    assert channels["slack"]["api_allowed"]
    assert not channels["apprise"]["api_allowed"]
    for channel in channels.values():
        jsonschema.Draft202012Validator.check_schema(channel["options"])
    slack = channels["slack"]["options"]
    assert slack["required"] == ["webhook_url"]
    assert slack["properties"]["webhook_url"]["writeOnly"]
    assert {"ca_file", "client_cert", "client_key", "proxy"}.isdisjoint(slack["properties"])
    assert "env" not in str(slack)
    jsonschema.validate(SLACK["config"], slack)


async def test_what_is_shared_is_not_asked_for(write: Any, serving: Serving) -> None:
    write(channels={"email": {"smtp_host": "relay.of-ours.example", "from_address": "n@example.com"}})
    async with serving() as api:
        channels = {each["name"]: each for each in (await api.get("/channels"))["items"]}
        assert channels["email"]["options"]["required"] == ["to_addresses"]
        assert "relay.of-ours.example" not in str(channels)


async def test_filters_say_what_they_take(api: Api) -> None:
    filters = {each["name"]: each["options"] for each in (await api.get("/filters"))["items"]}
    assert filters["min_severity"]["enum"] == ["info", "warning", "error", "critical"]
    jsonschema.validate(["quickbooks"], filters["connectors"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([], filters["connectors"])


# -- where everything stands -------------------------------------------------------------------------


async def test_sources_and_schedules(api: Api, sink: HttpSink, jobs: JobLog) -> None:
    for n in range(3):
        jobs.add("error", f"error {n}", job="nightly")
    jobs.add("ok", job="hourly")
    await sink.wait_for(4)
    (source,) = (await api.get("/sources"))["items"]
    assert (source["name"], source["in_file"], source["enabled"], source["error"]) == ("jobs", True, True, None)
    assert (source["read_up_to"], source["gaps"], "cursor" in source) == ("key 4", 0, False)
    failing = (await api.get("/schedules", failing="true"))["items"]
    assert [(each["schedule_id"], each["failed_runs"]) for each in failing] == [("nightly", 3)]
    assert failing[0]["announced"]
    both = await api.get("/schedules", limit=1)
    assert both["items"] == failing
    assert [each["schedule_id"] for each in (await api.get("/schedules", offset=both["next"]))["items"]] == ["hourly"]


async def test_the_books_balance(api: Api, sink: HttpSink, jobs: JobLog) -> None:
    jobs.add("error", "no")
    await sink.wait_for(1)
    await api.post("/test", hook(sink.url))
    status = await api.get("/status")
    assert [(each["read_up_to"], "cursor" in each) for each in status["sources"]] == [("key 1", False)]
    assert (status["balanced"], status["differences"], status["problems"]) == (True, [], {})
    assert status["deliveries"]["sent"] == 2
    assert status["source_books"][0]["counts"]["failure"] == 1
    assert [streak["failed_runs"] for streak in status["streaks"]] == [1]


async def test_the_trail_tells_who_changed_what(api: Api, sink: HttpSink, jobs: JobLog, site: Site) -> None:
    made = await api.make(**hook(sink.url, config={"url": sink.url, "auth_token": "SECRET-1"}))
    path = f"/configs/{made['id']}"
    await api.patch(
        path, {"enabled": False, "config": {"auth_token": "SECRET-2"}, "filters": {"min_severity": "error"}}
    )
    await api.post(f"{path}/test")
    await api.delete(path)
    (lost,) = await dead(api, sink, jobs, site)
    await api.post(f"/deliveries/{lost['id']}/retry")
    await api.post("/deliveries/retry", {"state": "dead"})
    entries = (await api.get("/audit"))["items"]
    assert [entry["action"] for entry in entries] == [
        "delivery.retried", "config.deleted", "config.tested", "config.changed", "config.created", "token.created",
    ]  # fmt: skip
    changed = entries[3]
    assert (changed["object_id"], changed["object_name"]) == (made["id"], "hook")
    assert {each["field"]: (each["old"], each["new"]) for each in changed["changes"]} == {
        "config.auth_token": ("********", "********"),
        "enabled": (True, False),
        "filters.min_severity": (None, "error"),
    }
    created = {each["field"]: each["new"] for each in entries[4]["changes"]}
    assert (created["enabled"], created["timeout"]) == (True, "30s")
    assert created["config.url"] == f"{sink.url}/********"  # who sends things elsewhere can be seen
    assert "SECRET" not in str(entries)
    first = await api.get("/audit", limit=2)
    rest = await api.get("/audit", before=first["next"])
    assert first["items"] + rest["items"] == entries


async def test_nothing_is_there_yet(write: Any, serving: Serving) -> None:
    write()
    async with serving() as api:
        for path in ("/configs", "/history", "/events", "/deliveries", "/schedules"):
            assert await api.get(path) == {"items": [], "next": None}


async def test_a_source_that_was_never_read_is_listed(write: Any, serving: Serving, site: Site, sink: HttpSink) -> None:
    missing = {
        "name": "later", "url": f"sqlite:///{site.folder}/later.db", "table": "t", "enabled": False,
        "columns": {"key": "id", "status": "s"}, "statuses": {"failure": ["error"]},
    }  # fmt: skip
    site.write(sources=[missing], notifications=[webhook("ops", sink.url)], http={"listen": "127.0.0.1:0"})
    async with serving() as api:
        (source,) = (await api.get("/sources"))["items"]
        assert (source["name"], source["in_file"], source["enabled"], source["read_at"]) == ("later", True, False, None)
