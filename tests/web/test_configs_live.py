"""/configs: what is changed counts at once and survives a restart, and what is on its way comes to no harm."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from notifyd.settings.model import NotificationTable
from notifyd.store import edits
from notifyd.store.trail import Actor
from tests.sinks.http import HANG, HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, until, webhook
from tests.web.conftest import SLACK, Api, Serving, hook

# -- live --------------------------------------------------------------------------------------------


async def test_a_config_is_live_at_once_and_until_it_is_deleted(
    api: Api, sink: HttpSink, jobs: JobLog, site: Site
) -> None:
    made = await api.make(**hook(sink.url + "/new", "new"))
    jobs.add("error", "one", job="1")
    await sink.wait_for(2)
    await api.patch(f"/configs/{made['id']}", {"config": {"url": sink.url + "/moved"}})
    jobs.add("error", "two", job="2")
    await sink.wait_for(4)
    await api.delete(f"/configs/{made['id']}")
    jobs.add("error", "three", job="3")
    requests = await sink.wait_for(5)
    assert sorted(request.path for request in requests) == ["/moved", "/new", "/ops", "/ops", "/ops"]
    assert len((await api.get("/history", config_id=made["id"]))["items"]) == 2  # it stays
    assert site.imbalances() == []


async def test_filters_take_effect_at_once(api: Api, sink: HttpSink, jobs: JobLog) -> None:
    made = await api.make(**hook(sink.url + "/new", "new", filters={"connectors": ["nobody"]}))
    jobs.add("error", "one", job="1")
    await sink.wait_for(1)
    await api.patch(f"/configs/{made['id']}", {"filters": None})
    jobs.add("error", "two", job="2")
    assert sorted(request.path for request in await sink.wait_for(3)) == ["/new", "/ops", "/ops"]


async def test_they_survive_a_restart(write: Any, serving: Serving, sink: HttpSink, jobs: JobLog) -> None:
    write()
    async with serving() as api:
        made = await api.make(**hook(sink.url + "/kept", "kept"))
        off = await api.make(**hook(sink.url + "/off", "off", enabled=False))
    async with serving() as api:
        assert await api.get(f"/configs/{made['id']}") == made
        assert await api.get(f"/configs/{off['id']}") == off
        jobs.add("error", "one")
        (request,) = await sink.wait_for(1)
        assert request.path == "/kept"


async def test_all_that_a_config_says_survives_a_restart_and_counts(
    write: Any, serving: Serving, sink: HttpSink, jobs: JobLog
) -> None:
    """Every key that there is, with another value than its default; the words are those of its template."""
    write()
    body = {
        **SLACK,
        "name": "own words",
        "config": {"webhook_url": sink.url, "username": "Own"},
        "filters": {"min_severity": "error", "event_types": ["sync_error"]},
        "group": {"window": "0s", "by": ["connector_id"]},
        "template": {"title": "Own title: {{ event.message }}", "body": "Own body: {{ event.message }}"},
        "delivery": {"max_concurrency": 1, "max_per_minute": 60, "retry_for": "1h", "expire_after": "2h"},
        "system": True,
        "timeout": "7s",
        "isolate": True,
    }
    assert body.keys() - {"notification_type", "name", "enabled"} == _with_defaults()
    async with serving() as api:
        made = await api.make(**body)
        assert {key: made[key] for key in body if key != "config"} == {k: v for k, v in body.items() if k != "config"}
    async with serving() as api:
        assert await api.get(f"/configs/{made['id']}") == made
        jobs.add("error", "no such order")
        (request,) = await sink.wait_for(1)
        (attachment,) = request.json()["attachments"]
        assert attachment["title"] == "Own title: no such order"
        assert "Own body: no such order" in attachment["text"]
        await api.patch(f"/configs/{made['id']}", {"template": {"title": "Another"}})
        await api.post(f"/configs/{made['id']}/test")
    assert sink.requests[-1].json()["attachments"][0]["title"] == "Another"


def _with_defaults() -> set[str]:
    """The keys of a config that may be left out."""
    return {name for name, field in NotificationTable.model_fields.items() if not field.is_required()} - {"enabled"}


async def test_what_waits_for_a_config_that_goes_is_cancelled_visibly(
    api: Api, sink: HttpSink, jobs: JobLog, site: Site
) -> None:
    sink.answer = 503
    off, gone = await api.make(**hook(sink.url, "off")), await api.make(**hook(sink.url, "gone"))
    jobs.add("error", "no")
    await until(lambda: site.states("off") == site.states("gone") == ["retrying"])
    await api.patch(f"/configs/{off['id']}", {"enabled": False})
    await api.delete(f"/configs/{gone['id']}")
    listed = {each["config_name"]: each for each in (await api.get("/deliveries"))["items"]}
    assert (listed["off"]["state"], listed["off"]["error"]) == ("cancelled", "its config was disabled")
    assert (listed["gone"]["state"], listed["gone"]["error"]) == ("cancelled", "its config was deleted")
    assert listed["ops"]["state"] == "retrying"
    assert site.imbalances() == []


@pytest.mark.parametrize("how", ["changed", "disabled", "deleted"])
async def test_what_is_in_flight_is_not_disturbed(api: Api, sink: HttpSink, jobs: JobLog, site: Site, how: str) -> None:
    hanging = asyncio.Event()

    async def answer(_: Any) -> int:
        await hanging.wait()
        return 200

    made = await api.make(**hook(sink.url + "/slow", "slow", filters={"error_types": ["sync_failure"]}))
    sink.answer = answer
    jobs.add("error", "no such order")
    await sink.wait_for(2)
    if how == "deleted":
        await api.delete(f"/configs/{made['id']}")
    else:
        change = {"enabled": False} if how == "disabled" else {"config": {"url": sink.url + "/other"}}
        await api.patch(f"/configs/{made['id']}", change)
    assert site.states("slow") == ["sending"]
    hanging.set()
    await until(lambda: site.states("slow") == ["sent"])
    assert sorted(request.path for request in sink.requests) == ["/ops", "/slow"]


async def test_what_fails_in_flight_after_its_config_went_is_not_tried_for_ever(
    api: Api, sink: HttpSink, jobs: JobLog, site: Site
) -> None:
    made = await api.make(**hook(sink.url + "/slow", "slow", timeout="500ms"))
    sink.answer = lambda request: HANG if request.path == "/slow" else 200
    jobs.add("error", "no")
    await sink.wait_for(2)
    await api.delete(f"/configs/{made['id']}")
    await until(lambda: site.states("slow") == ["cancelled"])
    assert site.imbalances() == []


async def test_changes_under_load_lose_nothing(api: Api, sink: HttpSink, jobs: JobLog, site: Site) -> None:
    """A config is replaced over and over while it is told: each event arrives exactly once."""
    made = await api.make(**hook(sink.url + "/busy", "busy"))

    async def change() -> None:
        for n in range(40):
            await api.patch(f"/configs/{made['id']}", {"config": {"headers": {"X-N": str(n)}}})

    async def fail() -> None:
        for n in range(40):
            jobs.add("error", "no", job=f"job {n}")
            await asyncio.sleep(0.01)

    await asyncio.gather(change(), fail())
    await until(lambda: site.states("busy") == ["sent"] * 40)
    told = [request.headers["webhook-id"] for request in sink.requests if request.path == "/busy"]
    assert len(told) == len(set(told)) == 40
    assert site.imbalances() == []


SLOW_FILTER = """
import pathlib, time
from notifyd.api import Filter, Pass, hookimpl
class Slow(Filter[str]):
    name, Options = "slow", str
    def decide(self, event, ctx):
        folder = pathlib.Path(self.options)
        (folder / "asked").touch()
        while not (folder / "go").exists(): time.sleep(0.01)
        return Pass()
@hookimpl
def notifyd_filters(): return [Slow]
"""


async def test_a_config_that_goes_while_its_filters_are_asked_is_told_no_more(
    write: Any, serving: Serving, sink: HttpSink, jobs: JobLog, site: Site
) -> None:
    (site.folder / "plugins").mkdir()
    (site.folder / "plugins" / "slow.py").write_text(SLOW_FILTER)
    write(webhook("ops", sink.url), daemon={"plugins_dir": str(site.folder / "plugins")})
    async with serving() as api:
        made = await api.make(**hook(sink.url, "slow", filters={"slow": str(site.folder)}))
        jobs.add("error", "no")
        await until((site.folder / "asked").exists)
        await api.delete(f"/configs/{made['id']}")
        (site.folder / "go").touch()
        await sink.wait_for(1)
        assert site.decided("slow") == []
        assert site.decided("ops") == [("sync_error", "planned")]
        assert site.imbalances() == []


async def test_what_was_planned_just_before_a_config_went_is_cancelled_with_it(
    api: Api, sink: HttpSink, jobs: JobLog, site: Site
) -> None:
    """Between the row's deletion and the roster's, a poll may still plan for it."""
    made = await api.make(**hook(sink.url, "late"))
    sink.answer = 503
    daemon = api.daemon
    await daemon.store(edits.delete, made["id"], 1, Actor("a test"), daemon.clock())
    jobs.add("error", "no")
    await until(lambda: site.states("late") == ["retrying"])
    await daemon.saved.apply(made["id"])
    assert site.states("late") == ["cancelled"]


# -- what does not work any more ---------------------------------------------------------------------


async def test_a_config_that_cannot_be_used_does_not_vanish(
    write: Any, serving: Serving, sink: HttpSink, site: Site, said: Any
) -> None:
    """Its plugin is gone, or what it shared: it is listed with its problem, and all else goes on."""
    shared = {"smtp_host": "mail.example.com", "from_address": "n@example.com"}
    write(webhook("ops", sink.url), channels={"email": shared})
    async with serving() as api:
        made = await api.make(notification_type="email", config={"to_addresses": ["o@example.com"]})
    write(webhook("ops", sink.url))
    async with serving() as api:
        listed = {each["name"]: each["problem"] for each in (await api.get("/configs"))["items"]}
        assert listed["ops"] is None
        assert "config.smtp_host: is required" in listed["email"]
        assert (await api.get("/status"))["problems"] == {made["id"]: listed["email"]}
        assert said("a config made through the API cannot be used", config="email")
        assert "cannot be used" in (await api.post(f"/configs/{made['id']}/test", status=409))["error"]
        mended = await api.patch(f"/configs/{made['id']}", {"config": shared})
        assert mended["problem"] is None


async def test_one_name_in_the_file_and_in_the_api_is_a_clear_refusal(
    write: Any, serving: Serving, sink: HttpSink
) -> None:
    write()
    async with serving() as api:
        await api.make(**hook(sink.url, "ops"))
    write(webhook("ops", sink.url))
    with pytest.raises(Exception, match='two configs called "ops": one in the settings file, and one that was made'):
        async with serving():
            pass


async def test_a_config_that_somebody_spoilt_in_the_state_db_is_still_listed(
    write: Any, serving: Serving, sink: HttpSink, site: Site
) -> None:
    write()
    async with serving() as api:
        made = await api.make(**hook(sink.url, "spoilt"))
    with closing(sqlite3.connect(site.state)) as connection, connection:
        connection.execute("UPDATE notification_configs SET filters = '{no json'")
    async with serving() as api:
        (listed,) = (await api.get("/configs"))["items"]
        assert "what the state DB has of its filters is no JSON" in listed["problem"]
        assert (await api.patch(f"/configs/{made['id']}", {"timeout": "7s"}))["problem"] is None
