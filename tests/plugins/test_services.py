"""Discord, Telegram, Teams, ntfy and PagerDuty against a real HTTP server: what each is told, what its words mean."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from notifyd.api import Channel, Event, EventType, Notification, Reason, Reject, Retry, Severity
from notifyd.model import Closes
from notifyd.outbound import HttpClient
from notifyd_plugins.discord import DiscordChannel
from notifyd_plugins.ntfy import NtfyChannel
from notifyd_plugins.pagerduty import PagerDutyChannel
from notifyd_plugins.teams import TeamsChannel
from notifyd_plugins.telegram import TelegramChannel
from tests.sinks.context import TestContext, a_notification, an_event
from tests.sinks.http import HttpSink, Request

KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "123456:ABC-DEF_ghi"

# For each: its class, the options that lead to a sink, and where the request arrives.
SERVICES: dict[str, tuple[type[Channel[Any]], Callable[[str], dict[str, Any]], str]] = {
    "discord": (DiscordChannel, lambda url: {"webhook_url": f"{url}/api/webhooks/1/x"}, "/api/webhooks/1/x"),
    "telegram": (
        TelegramChannel,
        lambda url: {"server": f"{url}/", "bot_token": TOKEN, "chat_id": "-1001"},
        f"/bot{TOKEN}/sendMessage",
    ),
    "teams": (TeamsChannel, lambda url: {"webhook_url": f"{url}/workflows/1?sig=x"}, "/workflows/1?sig=x"),
    "ntfy": (NtfyChannel, lambda url: {"server": f"{url}/", "topic": "sync-alerts"}, "/"),
    "pagerduty": (PagerDutyChannel, lambda url: {"server": url, "routing_key": KEY}, "/v2/enqueue"),
}

HOSTILE = "``` *b* <script>&amp; @everyone [x](http://evil) " + "\u202eäöü 💥" + "x" * 60_000 + "\nsecond line"


@pytest.fixture
async def sink() -> AsyncIterator[HttpSink]:
    async with HttpSink() as sink:
        yield sink


async def send(name: str, sink: HttpSink, notification: Notification | None = None, **options: Any) -> list[Request]:
    """Send it; all that arrived."""
    notification = notification or a_notification()
    cls, given, _ = SERVICES[name]
    public_url = options.pop("public_url", "")
    channel = cls(cls.Options.model_validate({**given(sink.url), **options}))
    async with contextlib.aclosing(HttpClient(timeout=5)) as http:
        await channel.send(notification, TestContext(notification, http=http, public_url=public_url))
    return sink.requests


async def sent(name: str, sink: HttpSink, notification: Notification | None = None, **options: Any) -> dict[str, Any]:
    (request,) = await send(name, sink, notification, **options)
    found: dict[str, Any] = request.json()
    return found


def texts(value: Any) -> str:
    """All texts in a payload."""
    if isinstance(value, dict):
        return "\n".join(map(texts, value.values()))
    return "\n".join(map(texts, value)) if isinstance(value, list) else str(value)


# What holds for each


@pytest.mark.parametrize("name", SERVICES)
async def test_it_tells_what_happened_and_what_to_do(name: str, sink: HttpSink):
    (request,) = await send(name, sink)
    assert (request.method, request.path) == ("POST", SERVICES[name][2])
    assert request.headers["content-type"].startswith("application/json")
    told = texts(request.json())
    assert "Sync Error: quickbooks - orders" in told
    assert "500: QuickBooks said that the order is not complete" in told
    assert "Check the credentials" in told


@pytest.mark.parametrize("name", SERVICES)
async def test_huge_and_hostile_text_stays_within_the_limits(name: str, sink: HttpSink):
    notification = a_notification(an_event(message=HOSTILE, title="T" * 5000))
    (request,) = await send(name, sink, notification)
    assert len(request.body) < 28_000
    assert "\u202e" not in texts(request.json())


@pytest.mark.parametrize("name", SERVICES)
async def test_a_busy_service_is_tried_again(name: str, sink: HttpSink):
    sink.answer = (
        429,
        {"Retry-After": "7"},
        b'{"ok": false, "description": "slow down", "parameters": {"retry_after": 7}}',
    )
    with pytest.raises(Retry, match="HTTP 429") as caught:
        await send(name, sink)
    assert caught.value.after == 7
    sink.answer = 503
    with pytest.raises(Retry, match="HTTP 503"):
        await send(name, sink)


@pytest.mark.parametrize("name", SERVICES)
async def test_a_refusal_is_final_and_tells_no_secret(name: str, sink: HttpSink):
    sink.answer = (404, {}, b'{"message": "Unknown Webhook", "code": 10015}')
    with pytest.raises(Reject, match="HTTP 404") as caught:
        await send(name, sink)
    assert not any(secret in str(caught.value) for secret in (KEY, TOKEN, "sync-alerts", "sig=x"))


@pytest.mark.parametrize("name", SERVICES)
async def test_the_link_leads_back(name: str, sink: HttpSink):
    (request,) = await send(name, sink, public_url="https://notify.example.com")
    assert "https://notify.example.com/" in texts(request.json())


# Discord


async def test_discord_gets_one_embed_in_a_code_block_and_mentions_nobody(sink: HttpSink):
    event = an_event(message="```rm``` @everyone", severity=Severity.CRITICAL)
    told = await sent("discord", sink, a_notification(event), username="Sync Monitor")
    assert (told["username"], told["allowed_mentions"]) == ("Sync Monitor", {"parse": []})
    (embed,) = told["embeds"]
    assert (embed["color"], embed["timestamp"]) == (0x8B0000, "2026-11-24T21:00:00+00:00")
    assert embed["description"].startswith("```\n")
    assert embed["description"].endswith("\n```")
    assert embed["description"].count("```") == 2


async def test_discords_limits_are_kept(sink: HttpSink):
    told = await sent("discord", sink, a_notification(an_event(message="x" * 9000, title="T" * 900)))
    (embed,) = told["embeds"]
    assert len(embed["title"]) <= 256
    assert len(embed["description"]) <= 4096
    assert len(embed["title"]) + len(embed["description"]) <= 6000


async def test_discords_hints_say_what_to_do(sink: HttpSink):
    sink.answer = (404, {}, b'{"message": "Unknown Webhook", "code": 10015}')
    with pytest.raises(Reject, match=r"Unknown Webhook.*make a new one in Discord"):
        await send("discord", sink)


# Telegram


async def test_telegram_gets_escaped_html_and_no_previews(sink: HttpSink):
    event = an_event(message="<b>&", severity=Severity.INFO)
    told = await sent("telegram", sink, a_notification(event), thread_id=7)
    assert {key: told[key] for key in ("chat_id", "parse_mode", "disable_notification", "message_thread_id")} == {
        "chat_id": "-1001",
        "parse_mode": "HTML",
        "disable_notification": True,
        "message_thread_id": 7,
    }
    assert told["link_preview_options"] == {"is_disabled": True}
    assert "&lt;b&gt;&amp;" in told["text"]
    assert "<b>&" not in told["text"]


async def test_telegrams_own_words_are_the_reason(sink: HttpSink):
    said = {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
    sink.answer = (400, {}, json.dumps(said).encode())
    with pytest.raises(Reject, match="HTTP 400: Bad Request: chat not found"):
        await send("telegram", sink)
    moved = {"description": "Bad Request: group chat was upgraded", "parameters": {"migrate_to_chat_id": -100123}}
    sink.answer = (400, {}, json.dumps(moved).encode())
    with pytest.raises(Reject, match="set chat_id to -100123"):
        await send("telegram", sink)
    sink.answer = (502, {}, b"<html>bad gateway</html>")
    with pytest.raises(Retry, match="HTTP 502: <html>bad gateway"):
        await send("telegram", sink)


# Teams


async def test_teams_gets_a_card_whose_lines_are_never_formatted(sink: HttpSink):
    told = await sent("teams", sink, public_url="https://notify.example.com")
    (attachment,) = told["attachments"]
    card = attachment["content"]
    assert (told["type"], card["type"], card["version"]) == ("message", "AdaptiveCard", "1.4")
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert card["body"][0]["inlines"][0]["color"] == "attention"
    assert card["actions"][0]["type"] == "Action.OpenUrl"


async def test_teams_says_how_many_lines_are_missing(sink: HttpSink):
    told = await sent("teams", sink, a_notification(an_event(message="line\n" * 900)))
    body = told["attachments"][0]["content"]["body"]
    assert len(body) <= 81
    assert body[-1]["inlines"][0]["text"].endswith("more lines")


async def test_a_refusal_behind_a_200_is_no_success(sink: HttpSink):
    sink.answer = (
        200,
        {},
        b"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429",
    )
    with pytest.raises(Retry, match="HTTP error 429"):
        await send("teams", sink)
    sink.answer = (403, {}, b"")
    with pytest.raises(Reject, match="set who can trigger it to Anyone"):
        await send("teams", sink)


# ntfy


async def test_ntfy_gets_json_with_priority_and_tags(sink: HttpSink):
    (request,) = await send("ntfy", sink, token="tk_secret")
    told = request.json()
    assert request.headers["authorization"] == "Bearer tk_secret"
    assert (told["topic"], told["priority"], told["tags"]) == ("sync-alerts", 4, ["x"])
    assert told["title"] == "Sync Error: quickbooks - orders"


async def test_ntfys_message_is_cut_by_bytes(sink: HttpSink):
    told = await sent("ntfy", sink, a_notification(an_event(message="ä" * 9000)))
    assert 4000 < len(told["message"].encode()) <= 4096
    assert told["message"].endswith("…")


# PagerDuty


def opening(event_type: EventType = EventType.CONSECUTIVE_FAILURES, **changes: Any) -> Event:
    return an_event(id="c0nd1t10n", event_type=event_type, severity=Severity.CRITICAL, **changes)


def recovered() -> Event:
    return an_event(
        id="r3c0very",
        event_type=EventType.RECOVERED,
        severity=Severity.INFO,
        closes=Closes("c0nd1t10n", "consecutive_failures"),
    )


async def test_pagerduty_opens_one_incident_for_a_condition(sink: HttpSink):
    told = await sent("pagerduty", sink, a_notification(opening(), thread="c0nd1t10n"))
    assert (told["routing_key"], told["event_action"], told["dedup_key"]) == (KEY, "trigger", "c0nd1t10n")
    payload = told["payload"]
    assert {key: payload[key] for key in ("severity", "source", "component", "group", "class", "timestamp")} == {
        "severity": "critical",
        "source": "shop",
        "component": "quickbooks",
        "group": "nightly",
        "class": "consecutive_failures",
        "timestamp": "2026-11-24T21:00:00.000000Z",
    }


async def test_recovery_resolves_the_same_incident(sink: HttpSink):
    notification = a_notification(recovered(), thread="c0nd1t10n", reason=Reason.RECOVERY)
    told = await sent("pagerduty", sink, notification)
    assert told == {"routing_key": KEY, "event_action": "resolve", "dedup_key": "c0nd1t10n"}


async def test_what_ended_before_it_was_told_is_opened_and_resolved(sink: HttpSink):
    notification = a_notification(opening(), opening(), recovered(), thread="c0nd1t10n")
    assert [request.json()["event_action"] for request in await send("pagerduty", sink, notification)] == [
        "trigger",
        "resolve",
    ]


async def test_a_test_leaves_no_open_incident(sink: HttpSink):
    notification = a_notification(an_event(event_type=EventType.TEST, severity=Severity.INFO), reason=Reason.TEST)
    requests = await send("pagerduty", sink, notification)
    assert [request.json()["event_action"] for request in requests] == ["trigger", "resolve"]
    assert len({request.json()["dedup_key"] for request in requests}) == 1


async def test_an_event_without_an_end_is_an_incident_of_its_own(sink: HttpSink):
    notification = a_notification()
    assert (await sent("pagerduty", sink, notification))["dedup_key"] == notification.id
    assert replace(notification, id="other").id != notification.id


# Options


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("discord", {"webhook_url": "discord.com/api"}, "must begin with http"),
        ("telegram", {"bot_token": "nonsense", "chat_id": "1"}, "BotFather"),
        ("telegram", {"bot_token": TOKEN, "chat_id": "my chat"}, "chat_id"),
        ("ntfy", {"topic": "https://ntfy.sh/x"}, "the name alone"),
        ("ntfy", {"topic": "x", "server": "ntfy.sh"}, "address of a server"),
        ("ntfy", {"topic": "x", "server": "https://u:p@ntfy.sh"}, "no user"),
        ("ntfy", {"topic": "x", "server": "https://ntfy.sh:port"}, "not an address"),
        ("pagerduty", {"routing_key": "short"}, "32 letters"),
        ("teams", {}, "webhook_url"),
    ],
)
def test_bad_options_say_how_to_mend_them(name: str, options: dict[str, str], problem: str):
    with pytest.raises(ValidationError, match=problem) as caught:
        SERVICES[name][0].Options.model_validate(options)
    assert "nonsense" not in str(caught.value)
