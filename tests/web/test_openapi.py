"""The OpenAPI document is exact: its examples work, its schemas hold, and schemathesis finds nothing else to say."""

from __future__ import annotations

import os
import re
from typing import Any

import httpx
import jsonschema
import pytest

from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.web.cases import CLOSED, LEAST_CASES, WHOLE, cases
from tests.web.conftest import Api, hook
from tests.web.test_auth import ROUTES, A

ALL_CASES = not os.environ.keys().isdisjoint({"CI", "NOTIFYD_ALL_CASES"})
SEED = 20261124
DOCUMENTED = [(method, path) for method, path in ROUTES if path.startswith(A)]  # /metrics is a format of its own

Document = dict[str, Any]


async def document(api: Api) -> Document:
    async with httpx.AsyncClient(base_url=api.base_url) as client:  # without a token
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
    assert {(method, path) for method, path, _ in operations(found)} == set(DOCUMENTED)
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
    (event, *_), (delivery, *_) = [(await api.get(path))["items"] for path in ("/events", "/deliveries")]
    ids = {"config_id": made["id"], "event_id": event["id"], "attempt_id": "1", "delivery_id": delivery["id"]}
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
    async with httpx.AsyncClient(base_url=api.base_url) as client:
        answer = await client.get("/api/docs")
    page = answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"<(script|link|img|iframe|object|embed|base|form)\b|@import|url\(", page)
    assert set(re.findall(r'(?:href|src)="([^"#]+)', page)) == {"openapi.json"}
    for method, path in DOCUMENTED:
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


async def test_schemathesis_finds_nothing(api: Api, sink: HttpSink) -> None:
    """A little of it, of the operations that people use most; the whole is the next test."""
    await api.make(**hook(sink.url))
    only = ["--include-operation-id-regex", "^(list_configs|create_config|list_history)$"]
    found = await cases(api.base_url, api.token, 1, *only, "--phases", "examples,fuzzing", "--max-examples", "15")
    assert found.passed, found.said
    assert found.made >= 20, found.said


@pytest.mark.timeout(900)
@pytest.mark.skipif(not ALL_CASES, reason="some minutes: run where $CI or $NOTIFYD_ALL_CASES is set")
async def test_schemathesis_finds_nothing_anywhere(api: Api, sink: HttpSink, jobs: JobLog) -> None:
    """The whole schema, all checks, stateful too, with a token and without; tests/bench does it with other seeds."""
    await api.make(**hook(sink.url))
    jobs.add("error", "no")
    await sink.wait_for(2)
    found = await cases(api.base_url, api.token, SEED, *WHOLE)
    assert found.passed, found.said
    without = await cases(api.base_url, None, SEED, *CLOSED)
    assert without.passed, without.said
    assert found.made + without.made >= LEAST_CASES, (found.made, without.made)
    assert (await api.get("/status"))["balanced"]
