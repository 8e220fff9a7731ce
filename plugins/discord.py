"""Posts to a channel of a Discord server, through a webhook of that channel.

One embed (https://docs.discord.com/developers/resources/webhook#execute-webhook), its text in a code block: there,
nothing in an error text is taken for formatting, and columns stay columns. Nobody is mentioned.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from notifyd.api import (
    Answer,
    Channel,
    Context,
    HttpOptions,
    Notification,
    Reject,
    Rendered,
    SecretUrl,
    Severity,
    hookimpl,
)
from notifyd_plugins.lengths import cut

COLORS = {Severity.INFO: 0x36A64F, Severity.WARNING: 0xFF9900, Severity.ERROR: 0xFF0000, Severity.CRITICAL: 0x8B0000}

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
HINTS = {
    401: "the webhook_url is not whole or has been changed; copy it again from Discord",
    403: "the webhook may not post here; look at the channel's permissions",
    404: "there is no such webhook: it was deleted, or the webhook_url is not whole; make a new one in Discord",
}

_TITLE_LIMIT = 256
_TEXT_LIMIT = 4096 - len("```\n\n```")


class DiscordOptions(HttpOptions):
    """Which webhook, and under what name."""

    webhook_url: SecretUrl = Field(description="The webhook's URL, from the channel's settings under Integrations.")
    username: Annotated[str, StringConstraints(min_length=1, max_length=80)] | None = Field(
        None, description="The name that the messages appear under. Default: the webhook's own."
    )


class DiscordChannel(Channel[DiscordOptions]):
    """Posts a coloured message to a Discord channel."""

    name = "discord"
    Options = DiscordOptions

    async def send(self, notification: Notification, ctx: Context) -> None:
        answer = await ctx.http.request(
            "POST",
            self.options.webhook_url.reveal(),
            headers={"content-type": "application/json"},
            body=json.dumps(self._message(notification, ctx.render())).encode(),
        )
        judge(answer, ctx)

    def _message(self, notification: Notification, words: Rendered) -> dict[str, Any]:
        return {
            **({"username": self.options.username} if self.options.username else {}),
            "allowed_mentions": {"parse": []},
            "embeds": [
                {
                    "title": cut(words.title, _TITLE_LIMIT),
                    "description": f"```\n{cut(_quoted(words.text.strip()), _TEXT_LIMIT)}\n```",
                    "color": COLORS[notification.event.severity],
                    "timestamp": notification.event.timestamp.isoformat(),
                    **({"url": words.link} if words.link else {}),
                }
            ],
        }


def judge(answer: Answer, ctx: Context) -> None:
    """Say what a refusal means; how long to wait is in Discord's Retry-After."""
    if hint := HINTS.get(answer.status):
        raise Reject(f"HTTP {answer.status}: {answer.excerpt} ({hint})", status_code=answer.status)
    answer.raise_for_status(ctx.now)


def _quoted(text: str) -> str:
    """Without what would end the code block."""
    return text.replace("```", "'''")


@hookimpl
def notifyd_channels() -> list[type[Channel[Any]]]:
    """One channel."""
    return [DiscordChannel]
