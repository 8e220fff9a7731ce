"""Posts to a Microsoft Teams channel or chat, through the webhook of a workflow.

Make one in Teams: Workflows, "Send webhook alerts to a channel". It takes a message with an Adaptive Card
(https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook, https://adaptivecards.io/explorer); the older
connectors, which Microsoft has retired, took the same. Text is in runs, which Teams never formats.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from notifyd.api import (
    Answer,
    Channel,
    Context,
    HttpOptions,
    Notification,
    Reject,
    Rendered,
    Retry,
    SecretUrl,
    Severity,
    hookimpl,
)
from notifyd_plugins.lengths import cut, cut_bytes

COLORS = {
    Severity.INFO: "good",
    Severity.WARNING: "warning",
    Severity.ERROR: "attention",
    Severity.CRITICAL: "attention",
}

HINTS = {
    400: "Teams cannot read the message, or the workflow does not expect a card: make it from the webhook template",
    401: "the webhook_url is not whole or its signature has expired; copy it again from the workflow",
    403: "the workflow may not be called by anyone; set who can trigger it to Anyone",
    404: "there is no such workflow: it was deleted, or the webhook_url is not whole",
}

_TEXT_LIMIT = 12_000  # bytes; of the 28 KB of a message, escapes may take half
_LINES = 80


class TeamsOptions(HttpOptions):
    """Which webhook."""

    webhook_url: SecretUrl = Field(description="The URL of a workflow that posts what its webhook receives.")


class TeamsChannel(Channel[TeamsOptions]):
    """Posts a card to a Microsoft Teams channel or chat."""

    name = "teams"
    Options = TeamsOptions

    async def send(self, notification: Notification, ctx: Context) -> None:
        answer = await ctx.http.request(
            "POST",
            self.options.webhook_url.reveal(),
            headers={"content-type": "application/json; charset=utf-8"},
            body=json.dumps(message(notification, ctx.render()), ensure_ascii=False).encode(),
        )
        judge(answer, ctx)


def message(notification: Notification, words: Rendered) -> dict[str, Any]:
    """The message: one card, with a line of text in each of its blocks."""
    lines = cut_bytes(words.text.strip(), _TEXT_LIMIT).splitlines()
    shown = lines if len(lines) <= _LINES else [*lines[: _LINES - 1], f"… and {len(lines) - _LINES + 1} more lines"]
    color = COLORS[notification.event.severity]
    title = {"type": "TextRun", "text": cut(words.title, 200), "size": "large", "weight": "bolder", "color": color}
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [_block(title), *(_block({"type": "TextRun", "text": line}) for line in shown if line)],
        **({"actions": [{"type": "Action.OpenUrl", "title": "Open", "url": words.link}]} if words.link else {}),
    }
    return {
        "type": "message",
        "attachments": [
            {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
        ],
    }


def _block(run: dict[str, str]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "spacing": "none", "inlines": [run]}


def judge(answer: Answer, ctx: Context) -> None:
    """Say what a refusal means. The older connectors answer 200 also to what was refused, and say so in words."""
    if answer.status == 200 and "returned HTTP error" in answer.excerpt:
        raise Retry(f"Teams did not take it: {answer.excerpt}", status_code=answer.status)
    if hint := HINTS.get(answer.status):
        raise Reject(f"HTTP {answer.status}: {answer.excerpt} ({hint})", status_code=answer.status)
    answer.raise_for_status(ctx.now)


@hookimpl
def notifyd_channels() -> list[type[Channel[Any]]]:
    """One channel."""
    return [TeamsChannel]
