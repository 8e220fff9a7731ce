"""Sends each notification to a Slack incoming webhook, or to anything that speaks like one.

The payload is one attachment (https://docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments)
with formatting switched off, so that an error text with * or _ in it reads as it was written.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from notifyd.api import (
    Answer,
    Channel,
    Context,
    Event,
    HttpOptions,
    Notification,
    Reject,
    Rendered,
    Retry,
    SecretUrl,
    Severity,
    hookimpl,
)

COLORS = {
    Severity.INFO: "#36a64f",
    Severity.WARNING: "#ff9900",
    Severity.ERROR: "#ff0000",
    Severity.CRITICAL: "#8b0000",
}

# What Slack's one-word refusals mean (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
# The word decides, not the status beside it: Slack has answered the same word with different ones.
HINTS = {
    "action_prohibited": "an admin of the workspace restricts what this webhook may post",
    "channel_is_archived": "the channel is archived; unarchive it, or name another in the option channel",
    "channel_not_found": "there is no such channel, or the webhook may not see it; check the option channel",
    "invalid_attachments": "Slack cannot read the message, which is a fault of notifyd; please report it",
    "invalid_payload": "Slack cannot read the message, which is a fault of notifyd; please report it",
    "invalid_token": "the webhook_url is wrong or has expired; copy it again from Slack",
    "missing_text_or_fallback_or_attachments": "the message came without a text, which is a fault of notifyd",
    "no_active_hooks": "the webhook was disabled; make a new one in Slack",
    "no_service": "the webhook was removed or disabled, or the webhook_url is not whole; make a new one in Slack",
    "no_service_id": "the webhook_url is not whole; copy it again from Slack",
    "no_team": "the workspace no longer exists, or the webhook_url is not whole",
    "no_text": "the message came without a text, which is a fault of notifyd; please report it",
    "posting_to_general_channel_denied": "only some people may post to this channel; name another",
    "team_disabled": "the workspace is disabled; ask one of its owners",
    "too_many_attachments": "the message has too many parts, which is a fault of notifyd; please report it",
    "user_not_found": "there is no such person; check the option channel",
}

# Slack's own trouble, or too much at once: the same message may be taken later.
TRANSIENT = {
    "fatal_error": "something went wrong at Slack",
    "internal_error": "something went wrong at Slack",
    "message_limit_exceeded": "the workspace has sent too many messages",
    "rate_limited": "too many messages at once",
    "ratelimited": "too many messages at once",
    "request_timeout": "Slack was too slow to read the message",
    "rollup_error": "something went wrong at Slack",
    "service_unavailable": "Slack is not available for now",
}

# For answers without such a word.
STATUS_HINTS = {
    403: "the webhook may not post here, or was revoked; make a new one in Slack",
    404: "there is no such webhook: it was removed, or the webhook_url is not whole",
    410: "the webhook or its channel is gone; make a new one in Slack",
}

_TEXT_LIMIT = 3000  # characters of the message; with the reasons it stays below the 8000 at which Slack cuts
_FIELD_LIMIT = 1980  # of the 2000 that Slack shows, so that "… and N more" fits
_LINE_LIMIT = 300  # also what Slack documents for a footer
_TOP_REASONS = 3
_WORD = re.compile(r'\s*([a-z_]+)\s*|.*"error":\s*"([a-z_]+)".*', re.DOTALL)
_UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")

Line = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class SlackOptions(HttpOptions):
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
            body=json.dumps(self._payload(notification, ctx.render())).encode(),
        )
        judge(answer, ctx.now)

    def _payload(self, notification: Notification, words: Rendered) -> dict[str, Any]:
        address = {"channel": self.options.channel, "username": self.options.username}
        return {
            **{key: value for key, value in address.items() if value is not None},
            "attachments": [attachment(notification, words)],
        }


# What Slack answers


def judge(answer: Answer, now: datetime) -> None:
    """Return if it was taken, and else raise Retry or Reject with a sentence that a person understands."""
    if 200 <= answer.status < 300:
        return
    found = _WORD.fullmatch(answer.excerpt)
    word = (found[1] or found[2]) if found else ""
    reason = f"HTTP {answer.status}: {word or answer.excerpt}".removesuffix(": ")
    if hint := HINTS.get(word):
        raise Reject(f"{reason} ({hint})", status_code=answer.status)
    if hint := TRANSIENT.get(word):
        raise Retry(f"{reason} ({hint})", answer.retry_after(now), status_code=answer.status)
    if hint := STATUS_HINTS.get(answer.status):
        raise Reject(f"{reason} ({hint})", status_code=answer.status)
    answer.raise_for_status(now)


# What Slack is told


def attachment(notification: Notification, words: Rendered) -> dict[str, Any]:
    """The one attachment that tells the notification; a config's own text stands in the place of ours."""
    event = notification.event
    own = words.body
    return {
        "fallback": _line(f"[{event.severity.value.upper()}] {words.title}: {event.message if own is None else own}"),
        "color": COLORS[event.severity],
        "title": _line(words.title),
        **({"title_link": words.link} if words.link else {}),
        "text": "\n".join([_text(event.message), *_reasons(notification)]) if own is None else _text(own),
        "fields": list(_fields(notification)) if own is None else [],
        "footer": _line(f"notifyd · {notification.config} · {notification.id}"),
        "ts": int(event.timestamp.timestamp()),
        "mrkdwn_in": [],
    }


def _reasons(notification: Notification) -> Iterator[str]:
    """Of a digest, what happened most often, and how much else did."""
    if not notification.is_digest:
        return
    seen = Counter((event.title, event.message) for event in notification.events)
    top = seen.most_common(_TOP_REASONS)
    partly = f", among {len(notification.events)} of them" if notification.count > len(notification.events) else ""
    yield f"Top reasons{partly}:"
    for (title, message), times in top:
        yield _line(f"• {times} × {title}: {message}")
    if more := notification.count - sum(times for _, times in top):
        yield f"… and {more} more"


def _fields(notification: Notification) -> Iterator[dict[str, Any]]:
    for title, value in _facts(notification):
        yield {"title": title, "value": value, "short": True}
    error = notification.event.details.get("error", "")
    if error and error not in notification.event.message:
        yield {"title": "Error", "value": _line(error), "short": False}
    if actions := notification.event.suggested_actions:
        yield {"title": "Suggested Actions", "value": "\n".join(_numbered(actions)), "short": False}


def _facts(notification: Notification) -> Iterator[tuple[str, str]]:
    event: Event = notification.event
    yield "Severity", event.severity.value
    if notification.is_digest:
        yield "Events", str(notification.count)
        yield "First", _moment(notification.first_at)
        yield "Last", _moment(notification.last_at)
    else:
        yield "Timestamp", _moment(event.timestamp)
    if event.schedule_id and event.schedule_id != event.connector_id:
        yield "Schedule", _line(event.schedule_id)
    if event.source:
        yield "Source", _line(event.source)


def _numbered(actions: Iterable[str]) -> Iterator[str]:
    """The actions that fit into a field, and how many more there are."""
    lines = [_line(f"{number}. {action}") for number, action in enumerate(actions, 1)]
    room = _FIELD_LIMIT
    for told, line in enumerate(lines):
        room -= len(line) + 1
        if room < 0:
            yield f"… and {len(lines) - told} more"
            return
        yield line


# Texts


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _line(text: str) -> str:
    """The text as one line that fits into a title."""
    return _escaped(_cut(" ".join(_clean(text).split()), _LINE_LIMIT))


def _text(text: str) -> str:
    """The text with its line ends."""
    return _escaped(_cut(_clean(text).strip(), _TEXT_LIMIT))


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _escaped(text: str) -> str:
    """Slack's three special characters; done last, so that nothing is cut in the middle of an escape."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@hookimpl
def notifyd_channels() -> list[type[Channel[Any]]]:
    """One channel."""
    return [SlackChannel]
