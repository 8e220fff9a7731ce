"""The faults of EasySale's first implementation: each with the test that would have caught it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from tests.sinks.http import HANG, HttpSink
from tests.sinks.log import JobLog
from tests.sinks.smtp import SmtpSink
from tests.system.site import Site, until, webhook
from tests.web.conftest import SLACK, Api, Serving, hook, make_token


async def test_1_the_notifier_is_called(api: Api, sink: HttpSink, jobs: JobLog) -> None:
    """Detection was never wired: here a row of the log arrives at a config that the API made."""
    await api.make(**hook(sink.url + "/wired", "wired"))
    jobs.add("error", "no such order")
    requests = await sink.wait_for(2)
    (request,) = [each for each in requests if each.path == "/wired"]
    assert request.json()["message"] == "no such order"


async def test_2_an_http_status_counts_and_nothing_waits_for_ever(api: Api, sink: HttpSink) -> None:
    """A 404 was recorded as sent, and there was no timeout."""
    for kind, config in (("slack", {"webhook_url": sink.url}), ("webhook", {"url": sink.url})):
        body = {"notification_type": kind, "config": config, "timeout": "200ms"}
        sink.answer = 404
        assert (await api.post("/test", body, 502))["attempt"]["status_code"] == 404
        sink.answer = HANG
        assert "timed out after 0.2 s" in (await api.post("/test", body, 502))["detail"]
    assert all(each["success"] is False for each in (await api.get("/history"))["items"])


async def test_3_the_history_says_why_and_has_tests(api: Api, sink: HttpSink) -> None:
    """It said only "Failed to send", and left out tests."""
    sink.answer = (422, {}, b"unknown field")
    await api.post("/test", hook(sink.url), 502)
    (attempt,) = (await api.get("/history"))["items"]
    assert (attempt["event_type"], attempt["error"]) == ("test", "HTTP 422: unknown field")


async def test_4_what_fails_is_tried_again_and_nobody_is_flooded(
    api: Api, sink: HttpSink, jobs: JobLog, site: Site
) -> None:
    """No retry, dedupe, cool-down or queue."""
    sink.answer = 503
    made = await api.make(**hook(sink.url, "calm", group={"window": "1h"}))
    jobs.write(jobs.row("error", "no", job=f"job {n}") for n in range(20))
    await until(lambda: site.states("calm") == ["retrying", "gathering"])
    waiting = (await api.get("/deliveries", config_id=made["id"]))["items"]
    assert [(each["state"], each["count"]) for each in waiting] == [("gathering", 19), ("retrying", 1)]


async def test_5_mail_that_was_not_taken_is_not_recorded_as_sent(api: Api) -> None:
    """It was recorded as sent though nothing was."""
    mail = {"smtp_host": "127.0.0.1", "tls": "none", "from_address": "n@example.com", "to_addresses": ["o@example.com"]}
    async with SmtpSink() as server:
        body = {"notification_type": "email", "config": {**mail, "smtp_port": server.port}}
        assert (await api.post("/test", body))["success"]
        assert len(server.messages) == 1
    assert (await api.post("/test", body, 502))["attempt"]["success"] is False
    assert [each["success"] for each in (await api.get("/history"))["items"]] == [False, True]


async def test_6_the_permission_is_enforced(api: Api) -> None:
    """It never was. (tests/web/test_auth.py asks every route with every kind of token.)"""
    powerless = {"authorization": f"Bearer {await make_token(api.daemon, 'powerless')}"}
    for method, path in (("GET", "/configs"), ("POST", "/configs"), ("GET", "/history"), ("POST", "/test")):
        assert (await api.ask(method, path, headers=powerless, json={})).status_code == 403


async def test_7_secrets_are_neither_kept_nor_returned_in_clear(api: Api, site: Site) -> None:
    """Both: test_configs_secrets.py looks everywhere for them."""
    made = await api.make(**SLACK)
    assert made["config"]["webhook_url"] == "********"
    assert b"/services/T000" not in b"".join(path.read_bytes() for path in site.folder.glob("state.db*"))


async def test_8_deleting_a_config_leaves_its_history(api: Api, sink: HttpSink) -> None:
    made = await api.make(**hook(sink.url))
    await api.post(f"/configs/{made['id']}/test")
    await api.delete(f"/configs/{made['id']}")
    assert [each["config_name"] for each in (await api.get("/history"))["items"]] == ["hook"]


async def test_9_a_config_that_cannot_be_read_does_not_vanish(api: Api, site: Site) -> None:
    """Silently, as it did when its JSON did not parse."""
    made = await api.make(**SLACK)
    with closing(sqlite3.connect(site.state)) as connection, connection:
        connection.execute("UPDATE notification_configs SET config = '{no json' WHERE id = ?", [made["id"]])
    await api.daemon.saved.apply(made["id"])
    listed = {each["id"]: each["problem"] for each in (await api.get("/configs"))["items"]}
    assert "what the state DB has of its config is no JSON" in listed[made["id"]]


async def test_10_html_is_escaped_limits_are_limits_and_order_is_exact(
    write: Any, serving: Serving, site: Site, jobs: JobLog, sink: HttpSink
) -> None:
    """HTML mail was not escaped, a negative limit meant none, and sent_at had whole seconds and no tie-break."""
    async with SmtpSink() as server:
        write(webhook("ops", sink.url))
        mail = {"smtp_host": "127.0.0.1", "smtp_port": server.port, "tls": "none", "from_address": "n@example.com"}
        config = {**mail, "to_addresses": ["o@example.com"]}
        async with serving() as api:
            await api.make(notification_type="email", config=config)
            jobs.add("error", "<script>alert(1)</script>")
            await until(lambda: len(server.messages) == 1)
            html = server.messages[0].part("html")
            await api.get("/history", 422, limit=-1)
            attempts = (await api.get("/history"))["items"]
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    moments = [each["started_at"] for each in attempts]
    assert all(len(moment) == len("2026-11-24T21:00:00.123456Z") for moment in moments)
    assert [each["id"] for each in attempts] == sorted((each["id"] for each in attempts), reverse=True)


async def test_11_times_are_compared_as_times(api: Api, sink: HttpSink, jobs: JobLog) -> None:
    """A "24 h" window compared two formats as text. Here a zone, digits and the letter T change nothing."""
    jobs.add("error", "no")
    await sink.wait_for(1)
    (event,) = (await api.get("/events"))["items"]
    day, clock = event["found_at"].rstrip("Z").split("T")
    for same in (f"{day}T{clock}Z", f"{day} {clock}+00:00", f"{day}t{clock}000z"):
        assert (await api.get("/events", since=same))["items"] == [event], same
        assert (await api.get("/events", until=same))["items"] == [], same


async def test_12_a_wrong_method_fails_when_it_is_written(api: Api, sink: HttpSink) -> None:
    """Not only when it was sent."""
    for method in ("GET", "DELETE", "post", ""):
        problem = await api.post("/configs", hook(sink.url, config={"url": sink.url, "method": method}), 422)
        assert problem["errors"][0]["pointer"] == "#/config/method"
