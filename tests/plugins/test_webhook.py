"""The webhook channel against a real HTTP server."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from notifyd.api import Notification, Reject, Retry, Secret
from notifyd.lane import lane_of
from notifyd.model import Outcome, Result
from notifyd.outbound import Guard, HttpClient
from notifyd.settings import SettingsError, load
from notifyd_plugins.webhook import WebhookChannel, WebhookOptions, notifyd_channels
from tests.sinks.context import NOW, TestContext, a_notification, an_event
from tests.sinks.http import RESET, HttpSink, Request


@pytest.fixture
async def sink() -> AsyncIterator[HttpSink]:
    async with HttpSink() as sink:
        yield sink


async def send(sink: HttpSink, notification: Notification | None = None, now: datetime = NOW, **options: Any) -> None:
    """Send one notification to the sink's /hook."""
    notification = notification or a_notification()
    channel = WebhookChannel(WebhookOptions.model_validate({"url": f"{sink.url}/hook", **options}))
    async with contextlib.aclosing(HttpClient(timeout=5)) as http:
        await channel.send(notification, TestContext(notification, http=http, now=now))


async def sent(sink: HttpSink, notification: Notification | None = None, **options: Any) -> Request:
    await send(sink, notification, **options)
    (request,) = sink.requests
    return request


def problems(**options: Any) -> list[tuple[str, str]]:
    """(key path, text) of everything that is wrong with the options."""
    with pytest.raises(ValidationError) as caught:
        WebhookOptions.model_validate({"url": "https://example.com/hook", **options})
    return [(".".join(map(str, error["loc"])), error["msg"]) for error in caught.value.errors()]


def test_the_plugin_gives_the_channel():
    assert notifyd_channels() == [WebhookChannel]


# What is sent


async def test_the_body_is_the_event_and_its_notification(sink: HttpSink):
    request = await sent(sink)
    assert (request.method, request.path) == ("POST", "/hook")
    assert request.headers["content-type"] == "application/json"
    assert request.json() == {
        "id": "5f0c7a1d2b3e4f60",
        "event_type": "sync_error",
        "severity": "error",
        "title": "Sync Error: quickbooks - orders",
        "message": "500: QuickBooks said that the order is not complete",
        "connector_id": "quickbooks",
        "entity_type": "orders",
        "error_type": "sync_failure",
        "tenant_id": "acme",
        "schedule_id": "nightly",
        "run_id": "run-4711",
        "source": "shop",
        "details": {"sync_id": "run-4711", "connector": "quickbooks", "entity": "orders", "entity_id": "WC-10492"},
        "suggested_actions": ["Check the credentials", "Retry the failed records"],
        "timestamp": "2026-11-24T21:00:00.000000Z",
        "closes": None,
        "notification": {
            "id": "0192f0c1e5b27c3d",
            "config": "ops-mail",
            "reason": "first",
            "count": 1,
            "missed": 0,
            "thread": None,
            "first_at": "2026-11-24T21:00:00.000000Z",
            "last_at": "2026-11-24T21:00:00.000000Z",
            "events": [{key: value for key, value in request.json().items() if key != "notification"}],
        },
    }


async def test_a_digest_carries_its_events_and_their_true_number(sink: HttpSink):
    samples = [an_event(id=f"e{number}") for number in range(3)]
    told = (await sent(sink, a_notification(an_event(title="500 events"), *samples, count=500))).json()
    assert told["title"] == "500 events"
    assert told["notification"]["count"] == 500
    assert [event["id"] for event in told["notification"]["events"]] == ["e0", "e1", "e2"]


async def test_every_try_carries_the_id_by_which_a_receiver_drops_repeats(sink: HttpSink):
    for _ in range(2):
        await send(sink)
    ids = [(request.headers["idempotency-key"], request.headers["webhook-id"]) for request in sink.requests]
    assert ids == [("0192f0c1e5b27c3d", "0192f0c1e5b27c3d")] * 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_the_method_is_a_choice(method: str, sink: HttpSink):
    assert (await sent(sink, method=method)).method == method


async def test_the_token_and_the_headers_are_sent(sink: HttpSink):
    headers = {"X-Team": "ops", "Content-Type": "application/cloudevents+json"}
    request = await sent(sink, auth_token="s3cret", headers=headers)
    assert request.headers["authorization"] == "Bearer s3cret"
    assert request.headers["x-team"] == "ops"
    assert request.headers["content-type"] == "application/cloudevents+json"


async def test_a_hostile_text_is_still_valid_json(sink: HttpSink):
    text = 'quote " slash \\ nul \0 surrogate \ud800 snowman \N{SNOWMAN} </script>'
    request = await sent(sink, a_notification(an_event(message=text)))
    assert json.loads(request.body.decode("ascii"))["message"] == text


# How the receiver knows who sends


async def test_user_and_password_are_basic_authentication(sink: HttpSink):
    request = await sent(sink, username="Zoë", password="s:cret")
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode() == "Zoë:s:cret"


@pytest.mark.parametrize("count", [1, 2])
async def test_the_signature_is_that_of_standard_webhooks(count: int, sink: HttpSink):
    keys = [f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in range(count)]
    await send(sink, now=datetime.now(UTC), signing_secrets=keys)
    (request,) = sink.requests
    assert request.headers["webhook-signature"].count("v1,") == count
    for key in keys:  # whichever of them the receiver knows
        assert Webhook(key).verify(request.body, request.headers) == request.json()
    with pytest.raises(WebhookVerificationError):
        Webhook(f"whsec_{base64.b64encode(b'?' * 32).decode()}").verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(keys[0]).verify(request.body + b" ", request.headers)


async def test_each_attempt_signs_its_own_time_and_the_same_id(sink: HttpSink):
    key = f"whsec_{base64.b64encode(b'k' * 24).decode()}"
    for minute in (0, 1):
        await send(sink, now=datetime(2026, 11, 24, 21, minute, 0, 999_999, UTC), signing_secrets=[key])
    first, second = (request.headers for request in sink.requests)
    assert (first["webhook-timestamp"], second["webhook-timestamp"]) == ("1795554000", "1795554060")
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-signature"] != second["webhook-signature"]


async def test_without_a_key_nothing_pretends_to_be_signed(sink: HttpSink):
    assert not {"webhook-timestamp", "webhook-signature"} & (await sent(sink)).headers.keys()


async def test_a_receiver_that_echoes_keeps_the_password_out_of_the_history(sink: HttpSink):
    sink.answer = lambda request: (401, {}, f"{request.headers['authorization']} is nobody".encode())
    with pytest.raises(Reject) as caught:
        await send(sink, username="ann", password="s3cret")
    assert str(caught.value) == "HTTP 401: <secret> is nobody"


async def attempted(tmp_path: Path, config: str, guard: Guard | None = None) -> Outcome:
    """What a real lane makes of a webhook with this `config` in TOML."""
    settings = tmp_path / "notifyd.toml"
    settings.write_text(f'[[notifications]]\nname = "hook"\nnotification_type = "webhook"\nconfig = {config}\n')
    loaded = load(settings)
    lane = lane_of(loaded.notifications[0], loaded.registry, guard)
    try:
        return await lane.attempt(a_notification(), 1, datetime.now(UTC))
    finally:
        await lane.close()


async def test_the_options_of_a_config_reach_its_connections(sink: HttpSink, tmp_path: Path):
    outcome = await attempted(tmp_path, f'{{ url = "http://hook.example/x", proxy = "{sink.url}" }}')
    assert (outcome.result, outcome.status_code) == (Result.SENT, 200)
    assert sink.requests[0].path == "http://hook.example/x"


async def test_a_config_of_the_api_is_guarded(sink: HttpSink, tmp_path: Path):
    outcome = await attempted(tmp_path, f'{{ url = "{sink.url}" }}', Guard())
    assert outcome.result is Result.REJECTED
    assert "its address is not public (loopback)" in outcome.reason
    assert sink.connections == 0


def test_a_file_that_is_not_there_is_a_line_of_the_settings(tmp_path: Path):
    settings = tmp_path / "notifyd.toml"
    settings.write_text(
        """[[notifications]]
name = "hook"
notification_type = "webhook"
[notifications.config]
url = "https://hook.example/s3cret"
ca_file = "/nowhere/ca.pem"
"""
    )
    with pytest.raises(SettingsError) as caught:
        load(settings)
    assert str(caught.value) == (
        f'{settings}:6: notifications["hook"].config.ca_file: /nowhere/ca.pem cannot be read: no such file or directory'
    )
    assert load(settings, secrets=False).notifications


# What the answer means


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_2xx_is_sent(status: int, sink: HttpSink):
    sink.answer = status
    await send(sink)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_an_endpoint_in_trouble_is_tried_again(status: int, sink: HttpSink):
    sink.answer = (status, {"Retry-After": "7"}, b"not now")
    with pytest.raises(Retry, match=f"HTTP {status}: not now") as caught:
        await send(sink)
    assert (caught.value.after, caught.value.status_code) == (7, status)


@pytest.mark.parametrize("status", [301, 302, 308, 400, 401, 403, 404, 405, 410, 413, 422])
async def test_an_endpoint_that_refuses_is_not_tried_again(status: int, sink: HttpSink):
    sink.answer = status
    with pytest.raises(Reject, match=f"HTTP {status}") as caught:
        await send(sink)
    assert caught.value.status_code == status


async def test_a_date_in_retry_after_counts_from_the_attempt(sink: HttpSink):
    sink.answer = (503, {"Retry-After": f"{datetime(2026, 11, 24, 21, 2, tzinfo=UTC):%a, %d %b %Y %H:%M:%S GMT}"}, b"")
    with pytest.raises(Retry) as caught:
        await send(sink)
    assert caught.value.after == 120


async def test_no_answer_is_tried_again(sink: HttpSink):
    sink.answer = RESET
    with pytest.raises(Retry, match="connection reset"):
        await send(sink)


# Options


@pytest.mark.parametrize("method", ["GET", "DELETE", "post", "", None])
def test_another_method_is_refused_when_the_settings_are_read(method: Any):
    assert problems(method=method) == [("method", "Input should be 'POST', 'PUT' or 'PATCH'")]


@pytest.mark.parametrize(
    "name",
    ["Idempotency-Key", "webhook-id", "WEBHOOK-ID", "Webhook-Timestamp", "webhook-signature", "Content-Length",
     "transfer-encoding", "Host", "connection"],
)  # fmt: skip
def test_the_headers_that_notifyd_sets_are_refused(name: str):
    ((where, what),) = problems(headers={name: "x"})
    assert name in where
    assert "this header is set by notifyd itself; remove it" in what


@pytest.mark.parametrize("name", ["", "X Y", "X:Y", "X-Ä", "X\r\nY"])
def test_what_is_no_header_name_is_refused(name: str):
    ((_, what),) = problems(headers={name: "x"})
    assert "is not a header name" in what


@pytest.mark.parametrize(("value", "words"), [("a\r\nX-B: c", "line break"), ("a\0", "control"), (" s3cret", "space")])
def test_a_header_value_that_cannot_be_sent_is_refused_without_being_quoted(value: str, words: str):
    attempts: list[dict[str, Any]] = [{"headers": {"X-A": value}}, {"auth_token": value}]
    attempts += [{"username": "ann", "password": value}] if words != "space" else []
    for options in attempts:
        ((_, what),) = problems(**options)
        assert words in what
        assert value not in what


def test_a_header_is_named_once():
    assert "x-team is there twice" in problems(headers={"X-Team": "a", "x-team": "b"})[0][1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"auth_token": "a", "headers": {"authorization": "b"}}, "auth_token and the header Authorization"),
        ({"auth_token": "a", "username": "b", "password": "c"}, "auth_token and username"),
        ({"username": "b", "password": "c", "headers": {"Authorization": "d"}}, "username and the header Author"),
        ({"url": "https://ann:pw@example.com/", "auth_token": "a"}, "auth_token and the user in the url"),
        ({"username": "b"}, "username and password go together"),
        ({"password": "c"}, "username and password go together"),
        ({"username": "b:", "password": "c"}, "holds no colon"),
    ],
)
def test_there_is_one_way_to_say_who_sends(options: dict[str, Any], words: str):
    ((_, what),) = problems(**options)
    assert words in what


@pytest.mark.parametrize(
    "secret",
    ["s3cret", "whsec_", "whsec_s3cret!", f"whsec_{base64.b64encode(b'x' * 23).decode()}",
     f"whsec_{base64.b64encode(b'x' * 65).decode()}", base64.b64encode(b"x" * 32).decode(), "WHSEC_" + "A" * 32],
)  # fmt: skip
def test_what_is_no_signing_secret_is_refused_without_being_quoted(secret: str):
    (problem,) = problems(signing_secrets=[secret])
    assert problem[0] == "signing_secrets.0"
    assert 'must be "whsec_" and then 24 to 64 random bytes in base64; make one with: echo' in problem[1]
    assert secret == "whsec_" or secret not in problem[1]


def test_an_unknown_key_is_refused():
    assert problems(timeout=3) == [("timeout", "Extra inputs are not permitted")]


def test_nothing_prints_a_secret():
    options = WebhookOptions.model_validate(
        {
            "url": "https://example.com/p4th?key=t0ken",
            "auth_token": "s3cret",
            "headers": {"X-Key": "k3y"},
            "signing_secrets": ["whsec_" + "S1gn" * 8],
            "proxy": "http://ann:pw@proxy.example",
        }
    )
    printed = f"{options!r} {options} {options.model_dump()} {options.model_dump_json()}"
    assert not [secret for secret in ("p4th", "t0ken", "s3cret", "k3y", "S1gn", "pw@") if secret in printed]


def test_secrets_may_stay_unresolved_where_nothing_is_sent():
    options = WebhookOptions.model_validate({"url": {"env": "HOOK"}, "headers": {"X-Key": {"file": "/run/key"}}})
    assert not options.url.resolved
    assert not options.headers["X-Key"].resolved


def test_the_schema_of_the_options_fits_them():
    schema = WebhookOptions.model_json_schema()
    good = {"url": {"env": "HOOK"}, "method": "PUT", "headers": {"X-Key": "k"}, "auth_token": {"file": "/run/token"}}
    jsonschema.validate(good, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**good, "method": "GET"}, schema)
    assert isinstance(WebhookOptions.model_validate(good).auth_token, Secret)
