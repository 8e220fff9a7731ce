"""What a client sends who means no good, or knows no better: refused or escaped, and never a 500."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from notifyd.web.limits import LARGEST_BODY, Limits
from tests.loops.conftest import Said
from tests.sinks.http import HttpSink
from tests.sinks.log import SyncLog
from tests.sinks.smtp import SmtpSink
from tests.system.site import Site, until
from tests.web.conftest import LOOPBACK, SLACK, Api, Serving, check_problem, hook

JSON = {"content-type": "application/json"}


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def deep(depth: int) -> bytes:
    return b'{"config":' * depth + b"1" + b"}" * depth


NOT_JSON: list[tuple[bytes, str]] = [
    (b"", "there is no body"),
    (b"{", "is not JSON"),
    (b"{} {}", "is not JSON"),
    (b'{"name": NaN}', "is not JSON"),
    (b'{"name": Infinity}', "is not JSON"),
    (b'{"name": "\xff"}', "is not JSON"),
    ('{"name": "ä"}'.encode("latin-1"), "is not JSON"),
    (json.dumps(SLACK).encode("utf-16"), "is not JSON"),
    (gzip.compress(json.dumps(SLACK).encode()), "is not JSON"),
    (b'{"name": "\\ud800"}', "is not JSON"),
    (b"\0" * 100, "is not JSON"),
    (b'{"name": "a", "config": {"x": 1, "x": 2}}', "names 'x' twice"),
    (nested(33), "nested deeper"),
    (deep(40), "nested deeper"),
    (nested(100_000), "is not JSON"),
    (deep(20_000), "is not JSON"),
]


async def test_what_is_no_json_is_refused(api: Api) -> None:
    for content, text in NOT_JSON:
        for method, path in (
            ("POST", "/configs"),
            ("PATCH", "/configs/x"),
            ("POST", "/test"),
            ("POST", "/deliveries/retry"),
        ):
            answer = await api.ask(method, path, content=content, headers=JSON)
            assert answer.status_code == 400, (content[:40], answer.text)
            assert text in answer.json()["error"], content[:40]
            check_problem(answer)


async def test_another_type_than_json_is_refused(api: Api) -> None:
    body = json.dumps(SLACK).encode()
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "x",
    ):
        answer = await api.ask("POST", "/configs", content=body, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["error"][:21]) == (415, "the body must be JSON"), kind
    for coding in ("gzip", "br", "deflate, gzip"):
        answer = await api.ask("POST", "/configs", content=body, headers={**JSON, "content-encoding": coding})
        assert (answer.status_code, "Content-Encoding" in answer.json()["error"]) == (415, True), coding
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"):
        assert (await api.ask("POST", "/configs", content=body, headers={"content-type": kind})).status_code == 201


async def test_a_body_that_is_too_long_is_refused_however_it_comes(api: Api) -> None:
    async def drops() -> Any:
        for _ in range(LARGEST_BODY // 1024 + 1):
            yield b" " * 1024

    for content in (b" " * (LARGEST_BODY + 1), drops()):
        answer = await api.ask("POST", "/configs", content=content, headers=JSON)
        assert answer.status_code == 413
        check_problem(answer)
    assert (await api.ask("POST", "/configs", content=b" " * LARGEST_BODY, headers=JSON)).status_code == 400


async def test_a_body_that_never_ends_is_given_up() -> None:
    """Read by the middleware itself, so that this takes no ten seconds."""
    sent: list[Any] = []

    async def app(*_: Any) -> None:
        raise AssertionError("the request was never whole")

    async def receive() -> Any:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    request = {"type": "http", "raw_path": b"/", "query_string": b"", "headers": []}
    await Limits(app, slowest=0.1)(request, receive, send)
    assert sent[0]["status"] == 408


STRANGE = [
    "<b>bold</b>", "<!channel> <@U1> *x* _y_ `z` ~w~", "{{ 7*7 }}", "%s %d %n", "'; DROP TABLE events; --",
    "../../etc/passwd", "é ü 日本語 🎉", "a" * 100, "\u202eevil", '"quoted"', "\\", "&amp;", "null", "-1",
    "${jndi:ldap://x}",
]  # fmt: skip


async def test_strange_names_are_kept_as_they_are_or_refused(api: Api, sink: HttpSink) -> None:
    for name in STRANGE:
        answer = await api.ask("POST", "/configs", json=hook(sink.url, name))
        assert answer.status_code in (201, 422), name
        if answer.status_code == 201:
            made = answer.json()
            assert made["name"] == name
            assert (await api.get(f"/configs/{made['id']}"))["name"] == name
            await api.post(f"/configs/{made['id']}/test")
            assert (await api.get("/history"))["items"][0]["config_name"] == name
    for name in ("a\nb", "a\0b", "\x1b[31m", " a", "a ", "", "a" * 101, "\u2028", "\u200b"):
        await api.post("/configs", hook(sink.url, name), 422)


async def test_nul_in_any_option_is_refused_or_escaped(api: Api, sink: HttpSink, site: Any) -> None:
    body = {
        **SLACK,
        "config": {**SLACK["config"], "webhook_url": sink.url, "channel": "#a\0b\r\nX: y", "username": "\0"},
    }
    answer = await api.ask("POST", "/configs", json=body)
    assert answer.status_code in (201, 422)
    if answer.status_code == 201:
        await api.post(f"/configs/{answer.json()['id']}/test")
        assert b"\0" not in sink.requests[0].body
    for headers in (
        {"X-A": "b\r\nX-C: d"},
        {"X-A": "\0"},
        {"X A": "b"},
        {"X-A\r\nX-C": "d"},
        {"Host": "evil"},
        {"webhook-id": "1"},
    ):
        await api.post("/configs", hook(sink.url, config={"url": sink.url, "headers": headers}), 422)
    for url in (
        "http://a b/",
        "http://x/\r\nX: y",
        "http://x\0y/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "//x",
        "http://",
        "http://x:99999/",
    ):
        await api.post("/configs", hook(url), 422)


async def test_mail_headers_cannot_be_broken_out_of(api: Api) -> None:
    good = {"smtp_host": "mail.example.com", "from_address": "n@example.com", "to_addresses": ["o@example.com"]}
    for key, value in (
        ("from_address", "n@example.com\r\nBcc: all@example.com"),
        ("to_addresses", ["o@example.com>\r\nRCPT TO:<x@example.com"]),
        ("from_address", "=?utf-8?q?x?= <n@example.com>"),
        ("smtp_host", "mail.example.com\r\nQUIT"),
        ("smtp_host", "/run/socket"),
    ):
        await api.post("/configs", {"notification_type": "email", "config": {**good, key: value}}, 422)


async def test_html_and_mrkdwn_in_every_field_are_text(
    site: Site, serving: Serving, sink: HttpSink, tmp_path: Path
) -> None:
    """In whatever a config says through the API, and whatever a row of the log says: nothing of it is markup."""
    evil = "<img src=x onerror=alert(1)> <!channel> <https://evil.example|click> &amp; *bold* `code`"
    words = {"title": f"{evil} {{{{ event.message }}}}", "body": f"{evil} {{{{ event.connector_id }}}}"}
    mail = {"smtp_host": "127.0.0.1", "tls": "none", "from_address": "n@example.com", "to_addresses": ["o@example.com"]}
    kept = {"window": "0s"}
    with SyncLog(tmp_path / "shop.db") as log:
        site.write(sources=[log.source("shop")], notifications=[], http={"listen": "127.0.0.1:0"}, security=LOOPBACK)
        async with SmtpSink() as server, serving() as api:
            slack = {"webhook_url": sink.url, "username": evil[:80], "channel": "#a"}
            for own in ({}, {"template": words}):
                name = f"{evil[:60]} {len(own)}"
                await api.make(notification_type="slack", name=f"s{name}", config=slack, group=kept, **own)
                config = {**mail, "smtp_port": server.port}
                await api.make(notification_type="email", name=f"m{name}", config=config, group=kept, **own)
            log.add(evil, "error", evil, connector=evil, entity=evil, tenant=evil)
            requests = await sink.wait_for(2)
            await until(lambda: len(server.messages) == 2)
    for message in server.messages:
        assert "&lt;img src=x" in message.part("html")
        assert not re.search(r"<img|<!channel|<https:", message.part("html"))
    for request in requests:
        shown = json.dumps({**request.json(), "username": ""})  # a name is no markup to Slack
        assert "&lt;!channel&gt;" in shown
        assert not re.search(r"<!channel|<https:|<img", shown)


async def test_sql_and_nul_in_the_address(api: Api) -> None:
    for text in ("' OR 1=1 --", "%00", "\0", "a" * 200, "日本", "\\", "%", "_"):
        assert (await api.get("/history", text=text, connector_id=text))["items"] == []
        answer = await api.ask("GET", f"/configs/{httpx.QueryParams({'x': text})!s}")
        assert answer.status_code == 404
        check_problem(answer)
    for path in (
        "/configs/%00",
        "/configs/..%2f..",
        "/configs/%ff",
        "/history/1e3",
        "/history/0x1",
        f"/history/{10**30}",
    ):
        assert (await api.ask("GET", path)).status_code in (404, 422), path
    await api.get("/history", 422, text="")
    await api.get("/history", 422, text="a" * 201)


async def test_nothing_of_it_forges_a_log_line(api: Api, said: Said, sink: HttpSink) -> None:
    """The log is JSON here; a journal's and a terminal's lines are tested where they are made."""
    sink.answer = (400, {}, b'\n{"event": "forged", "level": "info"}\r\n\x1b[2J')
    await api.post("/test", hook(sink.url, 'x", "event": "forged'), 502)
    await api.ask("GET", "/configs", headers={"authorization": 'Bearer x\t{"event": "forged"}'})
    await api.ask("GET", '/configs/"}%0a{"event": "forged"}')
    assert said("forged") == []
    assert said("a request was refused")


async def test_nothing_of_it_became_a_fault_of_the_daemon(api: Api, said: Said, sink: HttpSink) -> None:
    """A crowd of the above at once, and it goes on as before."""
    crowd = [api.ask("POST", "/configs", content=content, headers=JSON) for content, _ in NOT_JSON] * 3
    crowd += [api.ask("GET", f"/{name}", params={"x": "y"}) for name in ("history", "events", "nope")]
    answers = await asyncio.gather(*crowd)
    assert {answer.status_code for answer in answers} <= {400, 404, 422}
    assert said.tracebacks == 0
    assert (await api.post("/test", hook(sink.url)))["success"]


@pytest.mark.parametrize("raw", [
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /healthz\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /healthz?" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"no http at all\r\n\r\n",
], ids=range(7))  # fmt: skip
async def test_what_is_no_http_is_refused(api: Api, said: Said, raw: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.daemon.server.port)
    writer.write(raw)
    async with asyncio.timeout(5):
        line = await reader.readline()
    writer.close()
    assert line.startswith(b"HTTP/1.1 4") or line == b"", line
    await api.get("/configs")
    assert said("", logger="uvicorn.error") == []  # or anybody could fill the disk with it
