"""The Slack channel against a real HTTP server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from notifyd.api import Event, Notification, Reject, Retry, Severity
from notifyd.outbound import HttpClient
from notifyd.render import Template
from notifyd_plugins.slack import HINTS, STATUS_HINTS, TRANSIENT, SlackChannel, SlackOptions, notifyd_channels
from tests.sinks.context import NOW, TestContext, a_notification, an_event
from tests.sinks.http import RESET, HttpSink

PATH = "/services/T0/B0/s3cret"


@pytest.fixture
async def sink() -> AsyncIterator[HttpSink]:
    async with HttpSink() as sink:
        sink.answer = (200, {"Content-Type": "text/html"}, b"ok")
        yield sink


async def send(sink: HttpSink, notification: Notification | None = None, **options: Any) -> None:
    notification = notification or a_notification()
    words = {key: options.pop(key) for key in ("template", "public_url") if key in options}
    channel = SlackChannel(SlackOptions.model_validate({"webhook_url": sink.url + PATH, **options}))
    async with contextlib.aclosing(HttpClient(timeout=5)) as http:
        await channel.send(notification, TestContext(notification, http=http, **words))


async def sent(sink: HttpSink, notification: Notification | None = None, **options: Any) -> dict[str, Any]:
    """The payload that arrived."""
    await send(sink, notification, **options)
    (request,) = sink.requests
    assert (request.method, request.path) == ("POST", PATH)
    assert request.headers["content-type"] == "application/json"
    payload: dict[str, Any] = request.json()
    return payload


async def attachment(sink: HttpSink, notification: Notification | None = None, **words: Any) -> dict[str, Any]:
    payload = await sent(sink, notification, **words)
    (attachment,) = payload["attachments"]
    found: dict[str, Any] = attachment
    return found


def test_the_plugin_gives_the_channel():
    assert notifyd_channels() == [SlackChannel]


# What is sent


async def test_one_attachment_tells_it_all(sink: HttpSink):
    assert await sent(sink, channel="#sync-alerts", username="EasySale Sync Monitor") == {
        "channel": "#sync-alerts",
        "username": "EasySale Sync Monitor",
        "attachments": [
            {
                "fallback": "[ERROR] Sync Error: quickbooks - orders: "
                "500: QuickBooks said that the order is not complete",
                "color": "#ff0000",
                "title": "Sync Error: quickbooks - orders",
                "text": "500: QuickBooks said that the order is not complete",
                "fields": [
                    {"title": "Severity", "value": "error", "short": True},
                    {"title": "Timestamp", "value": "2026-11-24 21:00:00 UTC", "short": True},
                    {"title": "Schedule", "value": "nightly", "short": True},
                    {"title": "Source", "value": "shop", "short": True},
                    {
                        "title": "Suggested Actions",
                        "value": "1. Check the credentials\n2. Retry the failed records",
                        "short": False,
                    },
                ],
                "footer": "notifyd · ops-mail · 0192f0c1e5b27c3d",
                "ts": 1795554000,
                "mrkdwn_in": [],
            }
        ],
    }


async def test_channel_and_username_are_the_webhooks_own_unless_named(sink: HttpSink):
    assert list(await sent(sink)) == ["attachments"]


@pytest.mark.parametrize(
    ("severity", "color"),
    [
        (Severity.INFO, "#36a64f"),
        (Severity.WARNING, "#ff9900"),
        (Severity.ERROR, "#ff0000"),
        (Severity.CRITICAL, "#8b0000"),
    ],
)
async def test_the_colour_shows_the_severity(severity: Severity, color: str, sink: HttpSink):
    told = await attachment(sink, a_notification(an_event(severity=severity)))
    assert told["color"] == color
    assert told["fields"][0]["value"] == severity.value


async def test_without_suggested_actions_there_is_no_such_field(sink: HttpSink):
    told = await attachment(sink, a_notification(an_event(suggested_actions=())))
    assert [field["title"] for field in told["fields"]] == ["Severity", "Timestamp", "Schedule", "Source"]


async def test_a_schedule_that_only_repeats_the_connector_is_no_field(sink: HttpSink):
    told = await attachment(sink, a_notification(an_event(schedule_id="quickbooks", source=None)))
    assert [field["title"] for field in told["fields"]] == ["Severity", "Timestamp", "Suggested Actions"]


async def test_an_error_text_that_the_message_leaves_out_is_a_field(sink: HttpSink):
    event = an_event(message="The API rate limit was reached.", details={"error": "500: quota <of today>"})
    told = await attachment(sink, a_notification(event))
    assert {"title": "Error", "value": "500: quota &lt;of today&gt;", "short": False} in told["fields"]


def of_all(*told: tuple[int, str]) -> list[Event]:
    """The events of a digest: so many of each message."""
    return [an_event(message=message) for times, message in told for _ in range(times)]


async def test_a_digest_tells_how_many_since_when_and_the_top_reasons(sink: HttpSink):
    events = of_all((1, "x"), (4, "no\nstock"), (2, "y"), (3, "timed out"), (1, "z"))
    headline = an_event(title="11 × Sync Error: quickbooks - orders", message="11 events")
    first = NOW - timedelta(minutes=5)
    told = await attachment(sink, a_notification(headline, *events, first_at=first))
    assert told["text"].split("\n") == [
        "11 events",
        "Top reasons:",
        "• 4 × Sync Error: quickbooks - orders: no stock",
        "• 3 × Sync Error: quickbooks - orders: timed out",
        "• 2 × Sync Error: quickbooks - orders: y",
        "… and 2 more",
    ]
    assert [(field["title"], field["value"]) for field in told["fields"][:4]] == [
        ("Severity", "error"),
        ("Events", "11"),
        ("First", "2026-11-24 20:55:00 UTC"),
        ("Last", "2026-11-24 21:00:00 UTC"),
    ]


async def test_a_digest_of_one_kind_has_one_reason(sink: HttpSink):
    told = await attachment(sink, a_notification(an_event(message="3 events"), *of_all((3, "no stock"))))
    assert told["text"].split("\n")[1:] == ["Top reasons:", "• 3 × Sync Error: quickbooks - orders: no stock"]


async def test_a_digest_that_carries_a_part_of_its_events_says_so(sink: HttpSink):
    told = await attachment(sink, a_notification(an_event(), *of_all((20, "no stock")), count=500))
    assert told["text"].split("\n")[1:] == [
        "Top reasons, among 20 of them:",
        "• 20 × Sync Error: quickbooks - orders: no stock",
        "… and 480 more",
    ]


async def test_a_config_of_its_own_words_has_them_instead_of_ours(sink: HttpSink):
    words = Template(title="{{ event.connector_id }} & co", body="Call <Ann>.\nNow.")
    told = await attachment(sink, template=words)
    assert (told["title"], told["text"], told["fields"]) == ("quickbooks &amp; co", "Call &lt;Ann&gt;.\nNow.", [])
    assert told["fallback"] == "[ERROR] quickbooks &amp; co: Call &lt;Ann&gt;. Now."
    assert told["color"] == "#ff0000"


async def test_the_title_leads_to_the_daemon_where_it_has_an_address(sink: HttpSink):
    told = await attachment(sink, public_url="https://notifyd.example.com")
    assert told["title_link"] == "https://notifyd.example.com/deliveries/0192f0c1e5b27c3d"


async def test_a_text_can_neither_mention_nor_link(sink: HttpSink):
    hostile = "<!channel> <https://evil.example|click> & *bold* \x1b[31m\u202egnp"
    event = an_event(title=hostile, message=hostile, suggested_actions=(hostile,))
    told = await attachment(sink, a_notification(event))
    escaped = "&lt;!channel&gt; &lt;https://evil.example|click&gt; &amp; *bold*  [31m gnp"
    assert told["title"] == escaped.replace("  [", " \N{REPLACEMENT CHARACTER}[").replace(
        " gnp", "\N{REPLACEMENT CHARACTER}gnp"
    )
    assert told["text"] == escaped
    assert told["fields"][-1]["value"] == f"1. {escaped}".replace("  ", " ")
    assert "<" not in told["fallback"]
    assert told["mrkdwn_in"] == []


async def test_long_texts_are_cut_and_never_inside_an_escape(sink: HttpSink):
    event = an_event(title="&" * 5000, message="&" * 5000, suggested_actions=("&" * 5000,))
    told = await attachment(sink, a_notification(event, *[event] * 20, count=9000))
    lines = told["text"].split("\n")
    assert lines[0] == "&amp;" * 2999 + "…"
    assert told["title"] == "&amp;" * 199 + "…"
    assert told["fields"][-1]["value"] == "1. " + "&amp;" * 296 + "…"
    assert all(len(line) <= 300 * len("&amp;") for line in lines[1:])


async def test_actions_that_do_not_fit_are_counted(sink: HttpSink):
    told = await attachment(sink, a_notification(an_event(suggested_actions=["do " + "x" * 400] * 30)))
    lines = told["fields"][-1]["value"].split("\n")
    assert len(told["fields"][-1]["value"]) <= 2000
    assert lines[0] == "1. do " + "x" * 293 + "…"
    assert lines[-1] == "… and 24 more"
    assert len(lines) == 7


# What the answer means


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_slack_in_trouble_is_tried_again(status: int, sink: HttpSink):
    sink.answer = (status, {"Retry-After": "30"}, b"please wait")
    with pytest.raises(Retry, match=f"HTTP {status}: please wait") as caught:
        await send(sink)
    assert (caught.value.after, caught.value.status_code) == (30, status)


@pytest.mark.parametrize("word", TRANSIENT)
@pytest.mark.parametrize("status", [400, 429, 500])
async def test_slacks_words_for_its_own_trouble_are_too(word: str, status: int, sink: HttpSink):
    sink.answer = (status, {"Retry-After": "30"}, word.encode())
    with pytest.raises(Retry) as caught:
        await send(sink)
    assert str(caught.value) == f"HTTP {status}: {word} ({TRANSIENT[word]})"
    assert (caught.value.after, caught.value.status_code) == (30, status)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 410])
async def test_a_refusal_is_not_tried_again(status: int, sink: HttpSink):
    sink.answer = (status, {}, b"something_new")
    with pytest.raises(Reject, match=f"HTTP {status}") as caught:
        await send(sink)
    assert caught.value.status_code == status


@pytest.mark.parametrize("word", HINTS)
@pytest.mark.parametrize("status", [400, 404, 500])
async def test_slacks_one_word_refusals_are_explained(word: str, status: int, sink: HttpSink):
    sink.answer = (status, {}, word.encode())
    with pytest.raises(Reject) as caught:
        await send(sink)
    assert str(caught.value) == f"HTTP {status}: {word} ({HINTS[word]})"


async def test_a_word_in_json_is_understood_too(sink: HttpSink):
    sink.answer = (400, {}, b'{"ok":false,"error":"channel_not_found"}')
    with pytest.raises(Reject, match=r"^HTTP 400: channel_not_found \(there is no such channel"):
        await send(sink)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"", f"HTTP 404 ({STATUS_HINTS[404]})"),
        (404, b"<h1>Not Found</h1>", f"HTTP 404: <h1>Not Found</h1> ({STATUS_HINTS[404]})"),
        (403, b"nope", f"HTTP 403: nope ({STATUS_HINTS[403]})"),
        (410, b"", f"HTTP 410 ({STATUS_HINTS[410]})"),
    ],
)
async def test_a_status_alone_is_explained(status: int, body: bytes, reason: str, sink: HttpSink):
    sink.answer = (status, {}, body)
    with pytest.raises(Reject) as caught:
        await send(sink)
    assert str(caught.value) == reason


async def test_no_answer_is_tried_again_and_the_url_stays_secret(sink: HttpSink):
    sink.answer = RESET
    with pytest.raises(Retry, match="connection reset") as caught:
        await send(sink)
    assert "s3cret" not in str(caught.value)


# Options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "Field required"),
        ({"webhook_url": "hooks.slack.com/services/s3cret"}, "must begin with http:// or https://"),
        ({"webhook_url": "https://hooks.slack.com/x", "channel": ""}, "at least 1 character"),
        ({"webhook_url": "https://hooks.slack.com/x", "chanel": "#a"}, "Extra inputs are not permitted"),
    ],
)
def test_bad_options_are_refused(options: dict[str, str], words: str):
    with pytest.raises(ValidationError, match=words) as caught:
        SlackOptions.model_validate(options)
    assert "s3cret" not in str(caught.value)


def test_nothing_prints_the_url():
    options = SlackOptions.model_validate({"webhook_url": f"https://hooks.slack.com{PATH}"})
    assert "s3cret" not in f"{options!r} {options} {options.model_dump_json()}"
