"""Who is let in: every route, with every kind of token."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from notifyd.daemon import Daemon
from notifyd.store import tokens
from notifyd.store.tokens import Permission
from notifyd.store.trail import Actor
from notifyd.web.auth import LOGGED, OPEN, TRIES
from tests.loops.conftest import Clock, Said
from tests.sinks.http import HttpSink
from tests.system.site import Site
from tests.web.conftest import Api, Serving, check_problem, make_token

A = "/api/notifications"
ROUTES = {
    ("GET", f"{A}/configs"): 200,
    ("POST", f"{A}/configs"): 422,
    ("GET", f"{A}/configs/{{config_id}}"): 404,
    ("PUT", f"{A}/configs/{{config_id}}"): 404,
    ("PATCH", f"{A}/configs/{{config_id}}"): 404,
    ("DELETE", f"{A}/configs/{{config_id}}"): 404,
    ("POST", f"{A}/configs/{{config_id}}/test"): 404,
    ("POST", f"{A}/test"): 422,
    ("GET", f"{A}/history"): 200,
    ("GET", f"{A}/history/{{attempt_id}}"): 404,
    ("GET", f"{A}/deliveries"): 200,
    ("GET", f"{A}/deliveries/{{delivery_id}}"): 404,
    ("POST", f"{A}/deliveries/retry"): 422,
    ("POST", f"{A}/deliveries/{{delivery_id}}/retry"): 404,
    ("GET", f"{A}/events"): 200,
    ("GET", f"{A}/events/{{event_id}}"): 404,
    ("GET", f"{A}/channels"): 200,
    ("GET", f"{A}/filters"): 200,
    ("GET", f"{A}/sources"): 200,
    ("GET", f"{A}/schedules"): 200,
    ("GET", f"{A}/status"): 200,
    ("GET", f"{A}/audit"): 200,
    ("GET", "/metrics"): 200,
}
"""What a token that may do everything gets, with an empty object as the body."""

LINK = f"/deliveries/dlv_{'0' * 24}"
EVERYBODY = {
    ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/api/docs"), ("GET", "/api/openapi.json"),
    ("GET", "/deliveries/{delivery_id}"),
}  # fmt: skip


def address(path: str) -> str:
    return re.sub(r"{\w+}", "4711", path)


@pytest.fixture
async def matrix(api: Api, clock: Clock) -> dict[str, tuple[str | None, int]]:
    """Each kind of token: its text, and the status that it gets everywhere; None: as the route says."""
    daemon = api.daemon
    expired = await make_token(daemon, "expired", Permission.MANAGE_SETTINGS, lifetime=timedelta(seconds=1))
    revoked = await make_token(daemon, "revoked", Permission.MANAGE_SETTINGS)
    await daemon.store(tokens.revoke, "revoked", Actor("a test"), daemon.clock())
    powerless = await make_token(daemon, "powerless")
    lasting = await make_token(daemon, "lasting", Permission.MANAGE_SETTINGS, lifetime=timedelta(days=1))
    clock.forward(daemon, seconds=2)
    return {
        "no token": (None, 401),
        "a bad token": ("ntf_bad", 401),
        "an expired token": (expired, 401),
        "a revoked token": (revoked, 401),
        "a token without the permission": (powerless, 403),
        "a token with the permission": (lasting, 0),
    }


async def test_every_route_with_every_token(api: Api, matrix: dict[str, tuple[str | None, int]]) -> None:
    """A route that is forgotten here fails: the table is compared with the application."""
    app = api.daemon.server.app
    there = {
        (method, context.path or "") for context in iter_route_contexts(app.routes) for method in context.methods or ()
    }
    assert there == {*ROUTES, *EVERYBODY}
    async with httpx.AsyncClient(base_url=api.client.base_url) as client:
        for (method, path), allowed in ROUTES.items():
            for whose, (token, refused) in matrix.items():
                headers = {"authorization": f"Bearer {token}"} if token else {}
                answer = await client.request(method, address(path), headers=headers, json={})
                assert answer.status_code == (refused or allowed), f"{method} {path} with {whose}: {answer.text}"
                if answer.status_code >= 400:
                    check_problem(answer)
                assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
                if method == "GET":
                    head = await client.head(address(path), headers=headers)
                    assert (head.status_code, head.content) == (answer.status_code, b""), path
        for method, path in EVERYBODY:
            answer = await client.request(method, LINK if "{" in path else path)
            assert answer.status_code == 200, path


async def test_what_is_nowhere_needs_a_token_too(api: Api) -> None:
    """Path tricks lead to no way around: what is not open is closed."""
    for path in (
        "/", "/api", "/api/notifications", "/api/nope", "/favicon.ico", "//healthz", "/healthz/", "/HEALTHZ",
        f"/healthz/..{A}/configs", "/api/docs/../notifications/configs", f"/%2e%2e{A}/configs", f"/healthz;{A}/configs",
        "/api/docs%2f..%2fnotifications/configs", "/healthz%00", "/api/docs?/../configs/",
        "/deliveries/", "/deliveries/x", LINK[:-1], f"{LINK}/", f"{LINK}/../..{A}/configs", f"{LINK}%0a",
    ):  # fmt: skip
        status = await raw_status(api, path)
        assert status == (200 if path.partition("?")[0] in OPEN else 401), path


async def raw_status(api: Api, path: str) -> int:
    """The status of a GET whose path goes out as it is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.daemon.server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    line = await reader.readline()
    await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(line.split()[1])


# -- what is said ------------------------------------------------------------------------------------


async def said_to(api: Api, authorization: str | None) -> str:
    headers = {"authorization": authorization} if authorization is not None else {}
    async with httpx.AsyncClient(base_url=api.client.base_url) as client:
        answer = await client.get(f"{A}/configs", headers=headers)
    assert answer.status_code == 401
    error: str = answer.json()["error"]
    return error


async def test_without_any_token_it_says_how_to_make_one(write: Any, site: Site, clock: Clock, said: Said) -> None:
    write()
    daemon = Daemon(site.settings(), clock)
    await daemon.start()
    try:
        api = Api(daemon, "none")
        async with api.client:
            how = "notifyd token create --name NAME --permission manage_settings"
            assert await said_to(api, None) == f"there is no token yet that is let in; make one with: {how}"
            assert how in await said_to(api, "Bearer guess")
    finally:
        await daemon.stop()


async def test_each_refusal_says_what_is_wrong(api: Api, matrix: dict[str, tuple[str | None, int]]) -> None:
    assert (await said_to(api, None)).startswith("send a token, as Authorization: Bearer TOKEN")
    assert await said_to(api, "Bearer ntf_bad") == "this token is not known"
    assert 'the token "expired" has expired' in await said_to(api, f"Bearer {matrix['an expired token'][0]}")
    assert 'the token "revoked" was revoked' in await said_to(api, f"Bearer {matrix['a revoked token'][0]}")
    powerless = {"authorization": f"Bearer {matrix['a token without the permission'][0]}"}
    answer = await api.ask("GET", "/configs", headers=powerless)
    assert answer.json()["error"] == 'the token "powerless" lacks the permission manage_settings'


async def test_the_header_may_be_written_in_any_case_and_not_twice(api: Api) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (await api.ask("GET", "/configs", headers={"authorization": f"{scheme} {api.token}"})).status_code == 200
    for wrong in (api.token, f"Basic {api.token}", "Bearer", f"Bearer {api.token} x", "Bearer " + "x" * 5000):
        assert (await api.ask("GET", "/configs", headers={"authorization": wrong})).status_code == 401, wrong
    twice = [("authorization", f"Bearer {api.token}"), ("authorization", "Bearer x")]
    async with httpx.AsyncClient(base_url=api.client.base_url) as client:
        assert (await client.get(f"{A}/configs", headers=twice)).status_code == 401


async def test_a_body_is_not_even_read_as_json_without_a_token(api: Api) -> None:
    answer = await api.ask("POST", "/configs", content=b"[" * 1000, headers={"authorization": "Bearer no"})
    assert answer.status_code == 401


# -- failed tries ------------------------------------------------------------------------------------


async def test_failed_tries_are_limited_and_logged_and_a_right_token_gets_in(
    api: Api, said: Said, clock: Clock
) -> None:
    wrong = {"authorization": "Bearer ntf_SECRET-guess"}
    statuses = [(await api.ask("GET", "/configs", headers=wrong)).status_code for _ in range(TRIES + 2)]
    assert statuses == [401] * TRIES + [429] * 2
    refused = await api.ask("GET", "/configs", headers=wrong)
    assert int(refused.headers["retry-after"]) > 0
    assert (await api.ask("GET", "/configs")).status_code == 200
    lines = said("a request was refused")
    assert len(lines) == LOGGED
    assert lines[0]["client"] == "127.0.0.1"
    assert "SECRET" not in str(lines)
    clock.forward(api.daemon, seconds=61)
    assert (await api.ask("GET", "/configs", headers=wrong)).status_code == 401


async def test_no_token_is_no_try(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.client.base_url) as client:
        answers = [await client.get(f"{A}/configs") for _ in range(TRIES + 5)]
    assert {answer.status_code for answer in answers} == {401}


# -- what is kept ------------------------------------------------------------------------------------


async def test_a_token_is_kept_as_a_hash(api: Api, site: Site) -> None:
    kept = site.query("SELECT * FROM api_tokens")
    assert len(kept) == 1
    assert api.token not in str(kept)
    assert re.fullmatch("[0-9a-f]{64}", kept[0][2])


async def test_its_last_use_is_written_once_a_minute(api: Api, site: Site, clock: Clock) -> None:
    async def used() -> Any:
        await api.get("/configs")
        return site.value("SELECT last_used_at FROM api_tokens")

    first = await used()
    clock.forward(api.daemon, seconds=50)
    assert await used() == first
    clock.forward(api.daemon, seconds=11)
    assert await used() > first


async def test_a_token_that_is_revoked_is_out_at_once(api: Api) -> None:
    await api.get("/configs")
    (token,) = await api.daemon.store(tokens.listing)
    await api.daemon.store(tokens.revoke, token.id, Actor("a test"), api.daemon.clock())
    assert (await api.ask("GET", "/configs")).status_code == 401


async def test_cors_is_closed(api: Api) -> None:
    """No page of another site may ask, nor read an answer."""
    origin = {"origin": "https://evil.example.com", "access-control-request-method": "POST"}
    for method in ("OPTIONS", "GET"):
        answer = await api.ask(method, "/configs", headers=origin)
        assert not any(name.startswith("access-control") for name in answer.headers)


async def test_the_trail_names_who_asked(api: Api, serving: Serving, sink: HttpSink) -> None:
    made = await api.make(notification_type="webhook", config={"url": sink.url})
    (entry,) = (await api.get("/audit", object_id=made["id"]))["items"]
    (token,) = await api.daemon.store(tokens.listing)
    assert (entry["actor"], entry["actor_id"], entry["action"]) == (token.name, token.id, "config.created")
