"""/configs: made, read, changed and deleted, live at once, and never to the harm of what is on its way."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from notifyd.settings.masks import MASK
from notifyd.settings.model import NotificationTable
from notifyd.store import edits
from notifyd.store.database import StoreError
from notifyd.store.trail import Actor
from tests.sinks.http import HANG, HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, until, webhook
from tests.web.conftest import SLACK, Api, Serving, hook

FIELDS = [
    "id", "name", "notification_type", "enabled", "config", "filters", "group", "system", "template", "delivery",
    "timeout", "provisioned", "created_at", "updated_at", "problem",
]  # fmt: skip


# -- making ------------------------------------------------------------------------------------------


async def test_the_missions_own_example_works_as_it_is(api: Api) -> None:
    answer = await api.ask("POST", "/configs", json=SLACK)
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/notifications/configs/{made['id']}"
    assert {**made["config"], "webhook_url": "…"} == {**SLACK["config"], "webhook_url": "…"}
    assert made["filters"] == {"min_severity": "warning", "connectors": ["quickbooks", "woocommerce"]}
    assert (made["name"], made["enabled"], made["provisioned"]) == ("slack", True, False)
    assert set(FIELDS) <= made.keys()
    assert await api.get(f"/configs/{made['id']}") == made


async def test_a_missing_name_is_derived_and_a_taken_one_is_refused(api: Api) -> None:
    assert [(await api.make(**SLACK))["name"] for _ in range(3)] == ["slack", "slack-2", "slack-3"]
    problem = await api.post("/configs", {**SLACK, "name": "slack-2"}, 409)
    assert problem["errors"][0]["pointer"] == "#/name"
    assert (
        'there is a config called "ops" already' in (await api.post("/configs", {**SLACK, "name": "ops"}, 409))["error"]
    )


async def test_the_name_of_a_deleted_config_is_free_again(api: Api) -> None:
    first = await api.make(**SLACK)
    await api.delete(f"/configs/{first['id']}")
    second = await api.make(**SLACK)
    assert second["name"] == "slack"
    assert second["id"] != first["id"]


async def test_they_are_listed_newest_first_with_those_of_the_file(api: Api, sink: HttpSink) -> None:
    await api.make(**SLACK)
    await api.make(**hook(sink.url, "off", enabled=False))
    listed = (await api.get("/configs"))["items"]
    assert [(each["name"], each["provisioned"]) for each in listed] == [("off", False), ("slack", False), ("ops", True)]
    assert [each["name"] for each in (await api.get("/configs", notification_type="webhook"))["items"]] == [
        "off",
        "ops",
    ]
    assert [each["name"] for each in (await api.get("/configs", enabled="false"))["items"]] == ["off"]


WRONG: list[tuple[Any, str, str]] = [
    ([], "#", "expected an object"),
    ({}, "#/notification_type", "is required"),
    (
        {"notification_type": "slak", "config": {}},
        "#/notification_type",
        'unknown channel "slak"; did you mean "slack"?',
    ),
    ({**SLACK, "confg": 1}, "#/confg", 'unknown key; did you mean "config"?'),
    ({**SLACK, "enabled": "yes"}, "#/enabled", "expected true or false, not text"),
    ({**SLACK, "name": ""}, "#/name", "may not be empty"),
    ({**SLACK, "name": "a\nb"}, "#/name", "may not hold line breaks"),
    ({**SLACK, "timeout": "1h"}, "#/timeout", "must be at most 10m"),
    ({**SLACK, "group": {"window": 5}}, "#/group/window", "expected a duration"),
    ({**SLACK, "filters": {"connectors": []}}, "#/filters/connectors", "may not be empty"),
    ({**SLACK, "filters": {"min_severity": "bad"}}, "#/filters/min_severity", 'must be "info"'),
    ({**SLACK, "filters": {"colour": "red"}}, "#/filters/colour", "unknown filter"),
    ({**SLACK, "config": {}}, "#/config/webhook_url", "is required"),
    ({**SLACK, "config": 7}, "#/config", "expected an object"),
    ({**SLACK, "config": {"webhook_url": None}}, "#/config/webhook_url", "expected text"),
    ({**SLACK, "config": {"webhook_url": "ftp://x"}}, "#/config/webhook_url", "must begin with http"),
    ({**SLACK, "config": {**SLACK["config"], "type": "E-mail"}}, "#/config/type", "does not agree"),
    ({**SLACK, "config": {**SLACK["config"], "chanel": "#x"}}, "#/config/chanel", 'did you mean "channel"?'),
    ({**SLACK, "template": {"title": "{{ x"}}, "#/template/title", "it is not a template"),
    (
        {"notification_type": "webhook", "config": {"url": "http://x", "method": "GET"}},
        "#/config/method",
        'must be "POST"',
    ),
]


async def test_what_is_wrong_is_said_of_its_field(api: Api) -> None:
    for body, pointer, text in WRONG:
        problem = await api.post("/configs", body, 422)
        assert any(each["pointer"] == pointer and text in each["detail"] for each in problem["errors"]), problem
        assert "table" not in problem["detail"]  # the words are those of JSON
    assert len((await api.get("/configs"))["items"]) == 1


NOT_HERE = [
    {"webhook_url": {"env": "HOME"}},
    {"webhook_url": {"file": "/etc/passwd"}},
    {"webhook_url": {"credential": "slack"}},
    {"ca_file": "/etc/passwd"},
    {"client_cert": "/nowhere"},
    {"proxy": "http://proxy.example.com"},
]


async def test_what_only_the_settings_file_may_say_is_refused(api: Api) -> None:
    for options in NOT_HERE:
        problem = await api.post("/configs", {**SLACK, "config": {**SLACK["config"], **options}}, 422)
        (error,) = problem["errors"]
        assert error["pointer"] == f"#/config/{next(iter(options))}"
        assert "/etc/passwd" not in problem["detail"]  # nothing was looked up
        assert "settings file" in error["detail"] or "give the text itself" in error["detail"]


async def test_a_channel_that_is_not_for_the_api_is_refused(api: Api) -> None:
    problem = await api.post("/configs", {"notification_type": "apprise", "config": {"url": "json://localhost"}}, 422)
    assert problem["errors"][0]["detail"] == '"apprise" is only for the settings file, not for the API'


# -- changing ----------------------------------------------------------------------------------------


async def test_put_replaces_all_but_the_name(api: Api) -> None:
    made = await api.make(**SLACK, name="team", system=True)
    url = "https://hooks.slack.com/services/T/B/NEW"
    put = await api.put(f"/configs/{made['id']}", {"notification_type": "slack", "config": {"webhook_url": url}})
    assert (put["id"], put["name"], put["created_at"]) == (made["id"], "team", made["created_at"])
    assert put["config"] == {"webhook_url": MASK}
    assert (put["filters"], put["system"]) == ({}, False)
    renamed = await api.put(f"/configs/{made['id']}", {**put, "name": "crew"})
    assert renamed["name"] == "crew"


async def test_what_was_read_can_be_sent_back(api: Api) -> None:
    made = await api.make(**SLACK)
    read = await api.ask("GET", f"/configs/{made['id']}")
    again = await api.ask("PUT", f"/configs/{made['id']}", json=read.json())
    assert again.json() == read.json()
    assert again.headers["etag"] == read.headers["etag"]  # nothing has changed


async def test_patch_changes_what_it_says(api: Api) -> None:
    made = await api.make(**SLACK)
    patched = await api.patch(
        f"/configs/{made['id']}", {"enabled": False, "config": {"channel": "#ops", "username": None}}
    )
    assert patched["enabled"] is False
    assert patched["config"] == {"type": "Slack", "webhook_url": MASK, "channel": "#ops"}
    assert patched["filters"] == made["filters"]
    patched = await api.patch(f"/configs/{made['id']}", {"filters": {"connectors": None}})
    assert patched["filters"] == {"min_severity": "warning"}
    problem = await api.patch(f"/configs/{made['id']}", {"enabeld": None}, 422)
    assert problem["errors"] == [{"pointer": "#/enabeld", "detail": 'unknown key; did you mean "enabled"?'}]


async def test_a_config_of_the_file_is_read_only_and_says_where_it_is(api: Api, site: Site) -> None:
    (ops,) = (await api.get("/configs"))["items"]
    for refused in (
        await api.put(f"/configs/{ops['id']}", SLACK, 409),
        await api.patch(f"/configs/{ops['id']}", {"enabled": False}, 409),
        await api.delete(f"/configs/{ops['id']}", 409),
    ):
        assert f"ops is written in {site.file}:" in refused["error"]
    assert await api.get(f"/configs/{ops['id']}") == ops


async def test_one_that_there_is_not(api: Api) -> None:
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = await api.ask(method, "/configs/cfg_nope", json={} if method in ("PUT", "PATCH") else None)
        assert (answer.status_code, answer.json()["error"]) == (404, "there is no config cfg_nope")


# -- two writers -------------------------------------------------------------------------------------


async def test_an_etag_keeps_an_update_from_being_lost(api: Api) -> None:
    made = await api.ask("POST", "/configs", json=SLACK)
    path, tag = f"/configs/{made.json()['id']}", made.headers["etag"]
    assert (await api.ask("GET", path)).headers["etag"] == tag
    await api.patch(path, {"config": {"channel": "#a"}}, If_Match=tag)
    problem = await api.patch(path, {"config": {"channel": "#b"}}, 412, If_Match=tag)
    assert "read it again" in problem["detail"]
    await api.put(path, SLACK, 412, If_Match=tag)
    await api.delete(path, 412, If_Match=tag)
    assert (await api.get(path))["config"]["channel"] == "#a"
    await api.delete(path, If_Match=f'"0", {(await api.ask("GET", path)).headers["etag"]}')


async def test_two_writers_at_once_never_lose_an_update(api: Api) -> None:
    """Each changes another part, and none has read what the others wrote."""
    made = await api.make(**SLACK)
    path = f"/configs/{made['id']}"
    changes: list[dict[str, Any]] = [
        {"config": {"channel": "#a"}},
        {"config": {"username": "b"}},
        {"filters": {"min_severity": "error"}},
        {"filters": {"tenants": ["acme"]}},
        {"group": {"window": "1m"}},
        {"timeout": "7s"},
        {"system": True},
        {"name": "renamed"},
    ]
    await asyncio.gather(*(api.patch(path, change) for change in changes))
    after = await api.get(path)
    assert (after["config"]["channel"], after["config"]["username"]) == ("#a", "b")
    assert after["filters"] == {
        "min_severity": "error",
        "connectors": ["quickbooks", "woocommerce"],
        "tenants": ["acme"],
    }
    assert (after["group"]["window"], after["timeout"], after["system"], after["name"]) == ("1m", "7s", True, "renamed")
    trail = (await api.get("/audit", object_id=made["id"]))["items"]
    assert len([entry for entry in trail if entry["action"] == "config.changed"]) == len(changes)


async def test_of_writers_with_the_same_etag_exactly_one_wins(api: Api) -> None:
    made = await api.ask("POST", "/configs", json=SLACK)
    path, tag = f"/configs/{made.json()['id']}", {"If-Match": made.headers["etag"]}
    answers = await asyncio.gather(
        *(api.ask("PATCH", path, json={"config": {"channel": f"#{n}"}}, headers=tag) for n in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9


# -- secrets -----------------------------------------------------------------------------------------


def with_secrets(sink: HttpSink) -> dict[str, Any]:
    return hook(sink.url + "/SECRET-path", config={
        "url": sink.url + "/SECRET-path",
        "headers": {"X-Key": "SECRET-header"},
        "auth_token": "SECRET-token",
        "signing_secrets": ["whsec_" + "U0VDUkVU" * 4],
    })  # fmt: skip


async def test_a_secret_is_never_shown_nor_kept_in_clear(api: Api, sink: HttpSink, site: Site, said: Any) -> None:
    made = await api.make(**with_secrets(sink))
    await api.patch(f"/configs/{made['id']}", {"config": {"auth_token": "SECRET-other"}})
    sink.answer = 500
    await api.post(f"/configs/{made['id']}/test", status=502)
    shown = ["/configs", f"/configs/{made['id']}", "/history", "/events", "/deliveries", "/audit", "/status"]
    texts = [(await api.ask("GET", path)).text for path in shown]
    texts += [path.read_bytes().decode("latin-1") for path in site.folder.iterdir() if path.name.startswith("state.db")]
    texts.append(str(said("")))
    for text in texts:
        assert "SECRET" not in text
        assert "U0VDUkVU" not in text
    assert sink.requests[0].headers["authorization"] == "Bearer SECRET-other"  # and yet it has them


async def test_a_mask_keeps_its_secret(api: Api, sink: HttpSink) -> None:
    made = await api.make(**with_secrets(sink))
    put = await api.put(f"/configs/{made['id']}", {**made, "timeout": "3s"})
    assert put["config"]["headers"] == {"X-Key": MASK}
    longer = {**made["config"], "signing_secrets": [MASK, "whsec_" + "bmV3" * 8]}
    await api.put(f"/configs/{made['id']}", {**made, "config": longer})
    await api.post(f"/configs/{made['id']}/test")
    request = sink.requests[0]
    assert (request.path, request.headers["x-key"]) == ("/SECRET-path", "SECRET-header")
    assert len(request.headers["webhook-signature"].split()) == 2


ELSEWHERE = ["http://127.0.0.1:1/x", "https://127.0.0.1:{port}/x", "http://evil.example.com:{port}/x"]


async def test_a_mask_does_not_send_a_secret_elsewhere(api: Api, sink: HttpSink) -> None:
    """Another scheme, host or port: whoever changes the target has to know the secret."""
    made = await api.make(**with_secrets(sink))
    for url in ELSEWHERE:
        config = {**made["config"], "url": url.format(port=sink.port)}
        for problem in (
            await api.put(f"/configs/{made['id']}", {**made, "config": config}, 422),
            await api.patch(f"/configs/{made['id']}", {"config": {"url": config["url"]}}, 422),
            await api.post("/test", {**made, "config": config}, 422),
        ):
            pointers = {error["pointer"] for error in problem["errors"]}
            assert pointers == {"#/config/headers/X-Key", "#/config/auth_token", "#/config/signing_secrets/0"}
            assert "must be given again" in problem["detail"]
    assert sink.requests == []
    same = {**made["config"], "url": f"{sink.url}/another-path"}
    await api.put(f"/configs/{made['id']}", {**made, "config": same})


async def test_a_mask_without_a_secret_behind_it_is_refused(api: Api, sink: HttpSink) -> None:
    made = await api.make(**with_secrets(sink))
    masked = {**SLACK, "config": {"webhook_url": MASK}}
    for problem in (
        await api.post("/configs", masked, 422),
        await api.put(f"/configs/{made['id']}", masked, 422),  # that was another channel's
    ):
        assert problem["errors"][0]["pointer"] == "#/config/webhook_url"
    for part in (f"{MASK}x", f"https://x.example/{MASK}"):
        problem = await api.patch(f"/configs/{made['id']}", {"config": {"url": part}}, 422)
        assert problem["errors"][0]["pointer"] == "#/config/url"
        assert "not for a part" in problem["detail"]
    shorter = {**made["config"], "signing_secrets": []}
    await api.put(f"/configs/{made['id']}", {**made, "config": shorter})
    problem = await api.put(f"/configs/{made['id']}", made, 422)
    assert problem["errors"][0]["pointer"] == "#/config/signing_secrets/0"


async def test_of_a_list_that_got_shorter_nobody_knows_which_secret_is_meant(api: Api, sink: HttpSink) -> None:
    two = ["whsec_" + "b25l" * 8, "whsec_" + "dHdv" * 8]
    made = await api.make(**hook(sink.url, config={"url": sink.url, "signing_secrets": two}))
    await api.patch(f"/configs/{made['id']}", {"config": {"signing_secrets": [MASK]}}, 422)
    await api.patch(f"/configs/{made['id']}", {"config": {"signing_secrets": two[1:]}})


async def test_the_admins_shared_secrets_stay_with_the_admins_target(
    write: Any, serving: Serving, sink: HttpSink
) -> None:
    """[channels.email] has the company's server and its password; whoever names another server gets neither."""
    shared = {
        "smtp_host": "mail.example.com",
        "smtp_username": "us",
        "smtp_password": "SECRET",
        "from_address": "n@example.com",
    }
    write(webhook("ops", sink.url), channels={"email": shared})
    async with serving() as api:
        own = {"notification_type": "email", "config": {"to_addresses": ["o@example.com"]}}
        made = await api.make(**own)
        assert made["config"] == own["config"]  # what is shared is not returned
        evil = {**own, "config": {**own["config"], "smtp_host": "evil.example.com"}}
        problem = await api.post("/configs", evil, 422)
        assert "the secrets under [channels.email] stay with it" in problem["detail"]
        await api.patch(f"/configs/{made['id']}", {"config": {"smtp_host": "evil.example.com"}}, 422)


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


# -- the key -----------------------------------------------------------------------------------------

KEYS = ["0123456789abcdef" * 2, "fedcba9876543210" * 2]


async def test_a_wrong_key_is_refused_at_the_start(write: Any, serving: Serving, sink: HttpSink, site: Site) -> None:
    for key in (KEYS[0], None):  # the settings', and the one in the file
        write(security={"key": key} if key else {})
        async with serving() as api:
            await api.make(**hook(sink.url, f"sealed with {key}"))
        write(security={"key": KEYS[1]})
        with pytest.raises(
            StoreError, match=r"cannot be read: the key in \[security\] key is not the one .* put that key back"
        ):
            async with serving():
                pass
        for file in (site.state, site.state.with_name("state.db.lock")):  # which remembers that there was one
            file.unlink()


async def test_a_lost_key_can_be_given_up_as_the_guide_says(
    write: Any, serving: Serving, sink: HttpSink, site: Site
) -> None:
    write()
    async with serving() as api:
        await api.make(**hook(sink.url, "lost"))
    (key,) = site.folder.glob("*.key")
    key.unlink()
    with pytest.raises(StoreError, match="which is gone; put it back"):
        async with serving():
            pass
    guide = (Path(__file__).parents[2] / "config" / "README.md").read_text(encoding="utf-8")
    (statement,) = re.findall(r'sqlite3 notifyd.db "(UPDATE .*?)"', guide, re.DOTALL)
    with closing(sqlite3.connect(site.state)) as connection, connection:
        connection.execute(statement)
    async with serving() as api:
        assert (await api.get("/configs"))["items"] == []
        await api.make(**hook(sink.url, "new"))


async def test_no_secret_needs_no_key(write: Any, serving: Serving, site: Site) -> None:
    """A daemon without a config of the API makes none."""
    write()
    async with serving() as api:
        await api.get("/configs")
    assert list(site.folder.glob("*.key")) == []
