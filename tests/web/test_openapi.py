"""The OpenAPI document is exact: its examples work, its schemas hold, and schemathesis finds nothing else to say."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.web.conftest import Api, hook
from tests.web.test_auth import ROUTES

HERE = Path(__file__).parent
ALL_CASES = "NOTIFYD_ALL_CASES" in os.environ
LEAST_CASES = 5_000

Document = dict[str, Any]


async def document(api: Api) -> Document:
    async with httpx.AsyncClient(base_url=api.client.base_url) as client:  # without a token
        found: Document = (await client.get("/api/openapi.json")).json()
    return found


def operations(found: Document) -> list[tuple[str, str, Document]]:
    return [
        (m.upper(), path, operation) for path, methods in found["paths"].items() for m, operation in methods.items()
    ]


def check(found: Document, schema: Document, value: Any) -> None:
    """The value is what the schema of an operation says."""
    jsonschema.Draft202012Validator({**schema, "components": found["components"]}).validate(value)


async def test_it_has_every_route_and_says_what_each_does(api: Api) -> None:
    found = await document(api)
    assert {(method, path) for method, path, _ in operations(found)} == set(ROUTES)
    for method, path, operation in operations(found):
        assert operation["summary"], path
        assert operation["description"], path
        assert {"401", "403", "422", "429", "503"} <= operation["responses"].keys(), f"{method} {path}"
        for status, response in operation["responses"].items():
            kinds = list(response.get("content", ()))
            assert kinds == (
                ["application/problem+json"] if status >= "400" else ["application/json"] if status != "204" else []
            )
    assert found["security"] == [{"bearer": ["manage_settings"]}]
    for schema in found["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema({**schema, "components": found["components"]})


async def test_every_example_works_as_it_is(api: Api, sink: HttpSink) -> None:
    found = await document(api)
    made = await api.make(**hook(sink.url))
    tried = 0
    for method, path, operation in operations(found):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            for name, example in content["examples"].items():
                check(found, content["schema"], example["value"])
                answer = await api.ask(method, path.format(config_id=made["id"]), json=example["value"])
                reached = {200, 201, 502} if path.endswith("/test") else {200, 201}
                assert answer.status_code in reached | ({404} if name == "saved" else set()), answer.text
                if answer.status_code == 201:
                    await api.delete(f"/configs/{answer.json()['id']}")
                tried += 1
    assert tried >= 10


async def test_every_answer_is_what_it_says(api: Api, sink: HttpSink, jobs: JobLog) -> None:
    found = await document(api)
    made = await api.make(**hook(sink.url, filters={"min_severity": "info"}))
    for n in range(3):
        jobs.add("error", f"error {n}", job="nightly")
    await sink.wait_for(4)
    sink.answer = 400
    ids = {"config_id": made["id"], "event_id": (await api.get("/events"))["items"][0]["id"], "attempt_id": "1"}
    for _, path, operation in [each for each in operations(found) if each[0] == "GET"]:
        answer = await api.ask("GET", path.format(**ids))
        assert answer.status_code == 200, path
        assert answer.json().get("items") != [], f"nothing to compare at {path}"
        check(found, operation["responses"]["200"]["content"]["application/json"]["schema"], answer.json())
    problem = {"$ref": "#/components/schemas/Problem"}
    for answer in (
        await api.ask("POST", f"/configs/{made['id']}/test"),
        await api.ask("POST", "/configs", json={}),
        await api.ask("GET", "/history", params={"limit": 0}),
    ):
        check(found, problem, answer.json())


async def test_a_header_that_is_promised_is_there(api: Api, sink: HttpSink) -> None:
    found = await document(api)
    made = await api.ask("POST", "/configs", json=hook(sink.url))
    promised = found["paths"]["/api/notifications/configs"]["post"]["responses"]["201"]["headers"]
    assert set(promised) == {"ETag", "Location"} <= {name.title().replace("Etag", "ETag") for name in made.headers}
    assert (await api.ask("GET", made.headers["location"])).status_code == 200


# -- the page ----------------------------------------------------------------------------------------


async def test_the_page_needs_no_other_host(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.client.base_url) as client:
        answer = await client.get("/api/docs")
    page = answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"<(script|link|img|iframe|object|embed|base|form)\b|@import|url\(", page)
    assert set(re.findall(r'(?:href|src)="([^"#]+)', page)) == {"openapi.json"}
    for method, path in ROUTES:
        assert f"<b>{method}</b> <code>{path}</code>" in page
    for name in re.findall(r'href="#schema-(\w+)"', page):
        assert f'id="schema-{name}"' in page


async def test_the_page_escapes_what_a_plugin_says(write: Any, serving: Any, site: Any) -> None:
    (site.folder / "plugins").mkdir()
    (site.folder / "plugins" / "loud.py").write_text(
        "from notifyd.api import *\nclass Loud(Channel[Options]):\n    '''<script>alert(1)</script>'''\n"
        "    name, Options = 'loud', Options\n    async def send(self, notification, ctx): pass\n"
        "@hookimpl\ndef notifyd_channels(): return [Loud]\n"
    )
    write(daemon={"plugins_dir": str(site.folder / "plugins")})
    async with serving() as api:
        assert "<script>" not in (await api.ask("GET", "/api/docs")).text
        assert (await api.make(notification_type="loud", config={}))["problem"] is None


# -- schemathesis ------------------------------------------------------------------------------------


async def schemathesis(api: Api, *options: str, token: bool = True) -> tuple[int, str]:
    """Its exit status, and what it said: all checks, all phases, on the daemon that runs here."""
    given = ["-H", f"Authorization: Bearer {api.token}"] if token else []
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(HERE / "schemathesis.toml"), "run",
        f"{api.client.base_url}/api/openapi.json", *given, "--checks", "all", "--workers", "1", "--continue-on-failure",
        "--no-color", "--generation-database", ":memory:", *options,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, said.decode()


def cases(said: str) -> int:
    """How many it says that it has tried."""
    return sum(int(number) for number in re.findall(r"(\d+) generated", said))


async def test_schemathesis_finds_nothing(api: Api, sink: HttpSink) -> None:
    """A little of it, of the operations that people use most; the whole is the next test."""
    await api.make(**hook(sink.url))
    only = [
        "--include-operation-id-regex",
        "^(list_configs|create_config|list_history)$",
        "--phases",
        "examples,fuzzing",
    ]
    status, said = await schemathesis(api, *only, "--max-examples", "15", "--seed", "1")
    assert status == 0, said
    assert cases(said) >= 20, said


@pytest.mark.timeout(900)
@pytest.mark.skipif(not ALL_CASES, reason="some minutes; NOTIFYD_ALL_CASES=1 asks for it")
async def test_schemathesis_finds_nothing_anywhere(api: Api, sink: HttpSink, jobs: JobLog) -> None:
    """The whole schema, all checks, stateful too, with a token and without; as many cases as were asked for."""
    await api.make(**hook(sink.url))
    jobs.add("error", "no")
    await sink.wait_for(2)
    status, said = await schemathesis(api, "--max-examples", "40", "--seed", "20261124")
    assert status == 0, said
    without, said_too = await schemathesis(api, "--max-examples", "5", "--seed", "20261124", token=False)
    assert without == 0, said_too
    assert cases(said) + cases(said_too) >= LEAST_CASES, json.dumps([cases(said), cases(said_too)])
    assert (await api.get("/status"))["balanced"]
