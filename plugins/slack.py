"""Sends each notification to a Slack incoming webhook, or to anything that speaks like one.

The payload is one attachment (https://docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments)
with formatting switched off, so that an error text with * or _ in it reads as it was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from notifyd.api import Channel, Context, Event, Notification, Options, SecretUrl, Severity, hookimpl

COLORS = {
    Severity.INFO: "#36a64f",
    Severity.WARNING: "#ff9900",
    Severity.ERROR: "#ff0000",
    Severity.CRITICAL: "#8b0000",
}

# What Slack's one-word refusals mean (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
HINTS = {
    "action_prohibited": "an admin of the workspace restricts this webhook",
    "channel_is_archived": "unarchive the channel, or name another",
    "channel_not_found": "check the option channel",
    "invalid_token": "the webhook_url is wrong or expired; copy it again from Slack",
    "no_active_hooks": "the webhook was disabled; make a new one in Slack",
    "no_service": "the webhook was removed or disabled; make a new one in Slack",
    "no_team": "the workspace no longer exists",
    "user_not_found": "check the option channel",
}

_TEXT_LIMIT = 3000  # characters of the message; Slack folds longer ones away
_FIELD_LIMIT = 2000
_LINE_LIMIT = 300
_MOST_SAMPLES = 10
_UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")

Line = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class SlackOptions(Options):
    """Which webhook, and how the message is addressed and signed."""

    webhook_url: SecretUrl = Field(description="The incoming webhook's URL; everything behind its host is secret.")
    channel: Line | None = Field(None, description='Another channel or person than the webhook\'s own: "#alerts".')
    username: Line | None = Field(None, description="The name that the messages appear under.")


class SlackChannel(Channel[SlackOptions]):
    """Sends a coloured message to a Slack incoming webhook."""

    name = "slack"
    Options = SlackOptions

    async def send(self, notification: Notification, ctx: Context) -> None:
        answer = await ctx.http.request(
            "POST",
            self.options.webhook_url.reveal(),
            headers={"content-type": "application/json"},
            body=json.dumps(self._payload(notification)).encode(),
        )
        if hint := HINTS.get(answer.excerpt):
            answer = replace(answer, excerpt=f"{answer.excerpt} ({hint})")
        answer.raise_for_status(ctx.now)

    def _payload(self, notification: Notification) -> dict[str, Any]:
        address = {"channel": self.options.channel, "username": self.options.username}
        return {
            **{key: value for key, value in address.items() if value is not None},
            "attachments": [attachment(notification)],
        }


def attachment(notification: Notification) -> dict[str, Any]:
    """The one attachment that tells the notification."""
    event = notification.event
    return {
        "fallback": _line(f"[{event.severity.value.upper()}] {event.title}: {event.message}"),
        "color": COLORS[event.severity],
        "title": _line(event.title),
        "text": "\n".join([_text(event.message), *_samples(notification)]),
        "fields": list(_fields(event)),
        "footer": _line(f"notifyd · {notification.config} · {notification.id}"),
        "ts": int(event.timestamp.timestamp()),
        "mrkdwn_in": [],
    }


def _fields(event: Event) -> Iterator[dict[str, Any]]:
    yield {"title": "Severity", "value": event.severity.value, "short": True}
    yield {"title": "Timestamp", "value": _moment(event.timestamp), "short": True}
    if event.suggested_actions:
        numbered = (f"{number}. {action}" for number, action in enumerate(event.suggested_actions, 1))
        yield {"title": "Suggested Actions", "value": _text("\n".join(numbered), _FIELD_LIMIT), "short": False}


def _samples(notification: Notification) -> Iterator[str]:
    """A line for each event of a digest, as far as they fit."""
    if not notification.is_digest:
        return
    shown = notification.events[:_MOST_SAMPLES]
    for event in shown:
        yield _line(f"• {_moment(event.timestamp)} {event.title}: {event.message}")
    if notification.count > len(shown):
        yield f"… and {notification.count - len(shown)} more"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _line(text: str) -> str:
    return _text(" ".join(text.split()), _LINE_LIMIT)


def _text(text: str, limit: int = _TEXT_LIMIT) -> str:
    """The text without unprintable characters, cut, and then with Slack's three special characters escaped."""
    clean = _UNPRINTABLE.sub(" ", text).strip()
    cut = clean if len(clean) <= limit else clean[: limit - 1] + "…"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@hookimpl
def notifyd_channels() -> list[type[Channel[Any]]]:
    """One channel."""
    return [SlackChannel]
