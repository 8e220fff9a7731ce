"""Tests through the API: a real message by the real way, recorded, and an answer that says what came of it."""

from __future__ import annotations

import asyncio
from typing import Any

from notifyd.store import trials
from tests.cli.conftest import aside
from tests.sinks.http import HANG, HttpSink
from tests.system.site import Site, until, webhook
from tests.web.conftest import SLACK, Api, Serving, hook


async def test_a_config_that_is_saved(api: Api, sink: HttpSink) -> None:
    made = await api.make(**hook(sink.url + "/new", "new"))
    (ops,) = [each for each in (await api.get("/configs"))["items"] if each["provisioned"]]
    for path, body, name in (
        ("/test", {"config_id": made["id"]}, "new"),
        (f"/configs/{made['id']}/test", None, "new"),
        ("/test", {"config_id": ops["id"]}, "ops"),  # the settings file's can be tested too
    ):
        tested = await api.post(path, body)
        attempt = tested["attempt"]
        assert tested["success"] is attempt["success"] is True
        assert (attempt["config_name"], attempt["event_type"], attempt["status_code"]) == (name, "test", 200)
        assert attempt["delivery_id"] == tested["delivery_id"] == sink.requests[-1].headers["webhook-id"]
        assert (await api.get("/history"))["items"][0] == attempt
    assert [request.path for request in sink.requests] == ["/new", "/new", "/ops"]


async def test_a_failure_is_502_with_the_channels_own_reason(api: Api, sink: HttpSink, site: Site) -> None:
    """Recorded as what it was, and not tried again: somebody was told."""
    sink.answer = (404, {}, b"no such hook")
    made = await api.make(**hook(sink.url, "gone"))
    problem = await api.post(f"/configs/{made['id']}/test", status=502)
    assert problem["detail"] == "HTTP 404: no such hook"
    assert (problem["attempt"]["success"], problem["attempt"]["status_code"]) == (False, 404)
    sink.answer = 503
    await api.post(f"/configs/{made['id']}/test", status=502)
    assert site.states("gone") == ["dead", "cancelled"]
    cancelled, _ = (await api.get("/deliveries"))["items"]
    assert cancelled["error"] == "HTTP 503; a test is not tried again"
    assert site.imbalances() == []


async def test_a_config_that_is_not_saved(api: Api, sink: HttpSink, site: Site) -> None:
    tested = await api.post("/test", hook(sink.url + "/try", "idea"))
    assert sink.requests[0].path == "/try"
    assert tested["attempt"]["config_name"] == "idea"
    assert (await api.get("/history"))["items"][0]["config_name"] == "idea"
    assert [each["name"] for each in (await api.get("/configs"))["items"]] == ["ops"]
    assert len(api.daemon.roster.lanes) == 1  # nothing of it is left
    await api.post("/test", {**hook(sink.url), "timeout": "9h"}, 422)
    assert site.imbalances() == []


async def test_before_saving_masks_stand_for_what_is_saved(api: Api, sink: HttpSink) -> None:
    made = await api.make(**hook(sink.url, config={"url": sink.url, "auth_token": "SECRET"}))
    await api.post("/test", {**made, "config": {**made["config"], "headers": {"X-New": "1"}}})
    (request,) = sink.requests
    assert (request.headers["authorization"], request.headers["x-new"]) == ("Bearer SECRET", "1")
    assert (await api.get(f"/configs/{made['id']}")) == made


async def test_a_config_that_is_off_can_be_tested_and_stays_off(api: Api, sink: HttpSink, jobs: Any) -> None:
    made = await api.make(**hook(sink.url + "/off", "off", enabled=False))
    await api.post(f"/configs/{made['id']}/test")
    jobs.add("error", "no")
    await sink.wait_for(2)
    assert sorted(request.path for request in sink.requests) == ["/off", "/ops"]


async def test_what_cannot_be_tested(api: Api) -> None:
    assert (await api.post("/test", {"config_id": "cfg_nope"}, 404))["error"] == "there is no config cfg_nope"
    for body in ({"config_id": 7}, {"config_id": "cfg_nope", "name": "x"}, {}, [], "x"):
        await api.post("/test", body, 422)


async def test_several_at_once_each_get_their_own_answer(api: Api, sink: HttpSink) -> None:
    bodies = [hook(f"{sink.url}/{n}", "same name") for n in range(5)]
    tested = await asyncio.gather(*(api.post("/test", body) for body in bodies))
    assert len({each["delivery_id"] for each in tested}) == 5
    for each in tested:
        (request,) = [r for r in sink.requests if r.headers["webhook-id"] == each["delivery_id"]]
        assert request.path == f"/{tested.index(each)}"


async def test_it_does_not_wait_behind_a_backlog(api: Api, sink: HttpSink, jobs: Any, site: Site) -> None:
    made = await api.make(**hook(sink.url + "/busy", "busy"))
    sink.answer = 503
    jobs.write(jobs.row("error", "no", job=f"job {n}") for n in range(50))
    await until(lambda: len(site.states("busy")) == 50)
    sink.answer = 200
    tested = await api.post(f"/configs/{made['id']}/test")
    assert tested["success"]


async def test_a_hanging_endpoint_ends_with_its_own_timeout(api: Api, sink: HttpSink) -> None:
    sink.answer = HANG
    problem = await api.post("/test", hook(sink.url, timeout="300ms"), 502)
    assert "timed out after 0.3 s" in problem["detail"]
    assert api.daemon.sender._awaited == {}


# -- by the command line -----------------------------------------------------------------------------


async def test_the_command_tests_it_too_beside_the_daemon(api: Api, sink: HttpSink, site: Site) -> None:
    made = await api.make(**hook(sink.url + "/new", "new", timeout="5s"))
    answer = await aside("test", "new", site=site)
    assert (answer.exit_code, answer.stdout[:19]) == (0, "sent to new (webhoo"), answer.stderr
    assert [request.path for request in sink.requests] == ["/new"]
    sink.answer = 410
    refused = await aside("test", "new", site=site)
    assert (refused.exit_code, "HTTP 410" in refused.stderr) == (1, True)
    attempts = (await api.get("/history", config_id=made["id"]))["items"]
    assert [(each["event_type"], each["success"]) for each in attempts] == [("test", False), ("test", True)]
    tests = [each for each in (await api.get("/audit", object_id=made["id"]))["items"] if "tested" in each["action"]]
    assert [each["actor"].endswith(" at the command line") for each in tests] == [True, True]
    await api.patch(f"/configs/{made['id']}", {"enabled": False})
    off = await aside("test", "new", site=site)
    assert off.stderr == f"new ({made['id']}) is disabled, so nothing is sent to it; the API can test it\n"
    assert "there are ops, new" in (await aside("test", "zzz", site=site)).stderr


async def test_the_command_tests_it_too_where_no_daemon_runs(
    write: Any, serving: Serving, sink: HttpSink, site: Site
) -> None:
    """With its secrets, out of their seal, and under the same guard."""
    write()
    async with serving() as api:
        await api.make(**hook(sink.url, "new", config={"url": sink.url, "auth_token": "SECRET"}))
    answer = await aside("test", "new", site=site)
    assert answer.exit_code == 0, answer.stderr
    assert [request.headers["authorization"] for request in sink.requests] == ["Bearer SECRET"]
    write(security={"allow_private_targets": []})
    refused = await aside("test", "new", site=site)
    assert (refused.exit_code, "its address is not public" in refused.stderr) == (1, True)
    assert len(sink.requests) == 1
    (site.folder / "state.db.key").unlink()
    gone = await aside("test", "new", site=site)
    assert (gone.exit_code, gone.stdout, gone.stderr.count("\n")) == (1, "", 1)
    assert "their key was in" in gone.stderr
    assert site.states("new") == ["sent", "dead"]
    assert site.imbalances() == []


async def test_a_test_that_a_stop_left_behind_is_not_sent_later(
    write: Any, serving: Serving, sink: HttpSink, site: Site
) -> None:
    """Of a config that is off, and of one that was never saved: nobody waits any more."""
    write()
    async with serving() as api:
        made = await api.make(**hook(sink.url, "off", enabled=False))
        for identity, name in ((made["id"], "off"), (trials.unsaved_id("idea"), "idea")):
            await api.daemon.store(trials.begin, identity, name, api.daemon.clock())
    async with serving() as api:
        left = {each["config_id"]: each for each in (await api.get("/deliveries"))["items"]}
        assert left[made["id"]]["error"] == "its config was disabled"
        assert {each["state"] for each in left.values()} == {"cancelled"}
        assert "its config was never saved" in {each["error"] for each in left.values()}
    assert sink.requests == []
    assert site.imbalances() == []


# -- nothing gets around the guard -------------------------------------------------------------------


async def test_ssrf_through_a_test_is_refused(write: Any, serving: Serving, sink: HttpSink) -> None:
    """However the address is written, on the way out only its number counts; the file's own configs may."""
    write(webhook("ops", sink.url), security={"allow_private_targets": []})
    targets = [
        sink.url, f"http://localhost:{sink.port}", f"http://2130706433:{sink.port}", f"http://0x7f.1:{sink.port}",
        f"http://[::ffff:127.0.0.1]:{sink.port}", f"http://[::1]:{sink.port}", "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1", "http://0/",
    ]  # fmt: skip
    async with serving() as api:
        for url in targets:
            problem = await api.post("/test", hook(url, timeout="2s"), 502)
            assert "its address is not public" in problem["detail"], url
        mail = {
            "smtp_host": "127.0.0.1",
            "smtp_port": 25,
            "tls": "none",
            "from_address": "a@b.example",
            "to_addresses": ["o@b.example"],
        }
        problem = await api.post("/test", {"notification_type": "email", "config": mail}, 502)
        assert "its address is not public" in problem["detail"]
        assert sink.requests == []
        (ops,) = (await api.get("/configs"))["items"]
        await api.post("/test", {"config_id": ops["id"]})


async def test_slack_is_told_as_slack_is(api: Api, sink: HttpSink) -> None:
    """And what a person wrote cannot ping a whole channel."""
    body = {**SLACK, "name": "<!channel> & <b>", "config": {**SLACK["config"], "webhook_url": sink.url}}
    await api.post("/test", body)
    payload = sink.requests[0].json()
    assert (payload["channel"], payload["username"]) == ("#sync-alerts", "EasySale Sync Monitor")
    assert "<!channel>" not in sink.requests[0].body.decode()
    assert "&lt;!channel&gt; &amp; &lt;b&gt;" in payload["attachments"][0]["footer"]
