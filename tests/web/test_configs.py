"""/configs: made, read and changed, and what is refused; two writers lose nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from notifyd.settings.masks import MASK
from tests.sinks.http import HttpSink
from tests.system.site import Site
from tests.web.conftest import SLACK, Api, hook

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
