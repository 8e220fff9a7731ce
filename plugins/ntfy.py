"""Pushes to the phones that follow an ntfy topic, on ntfy.sh or a server of one's own.

Messages are published as JSON (https://docs.ntfy.sh/publish/#publish-as-json), as HTTP headers take no umlauts.
Whoever knows the topic can read along: it is a secret, unless the server asks for a token.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from notifyd.api import Channel, Context, Form, HttpOptions, Notification, Secret, Severity, hookimpl
from notifyd_plugins.lengths import cut, cut_bytes
from notifyd_plugins.server_url import ServerUrl

PRIORITY = {Severity.INFO: 2, Severity.WARNING: 3, Severity.ERROR: 4, Severity.CRITICAL: 5}
TAGS = {
    Severity.INFO: "information_source",
    Severity.WARNING: "warning",
    Severity.ERROR: "x",
    Severity.CRITICAL: "rotating_light",
}

_TITLE_LIMIT = 250
_MESSAGE_LIMIT = 4096  # bytes; the server makes an attachment of what is longer


_TOPIC = "[-_A-Za-z0-9]{1,64}"


def _topic(topic: Secret) -> Secret:
    if topic.resolved and not re.fullmatch(_TOPIC, topic.reveal()):
        raise ValueError("a topic is 1 to 64 letters, digits, - and _ (the name alone, without the server)")
    return topic


class NtfyOptions(HttpOptions):
    """Which topic of which server."""

    topic: Annotated[Secret, AfterValidator(_topic), Form(f"^{_TOPIC}$")] = Field(
        description="The topic's name. Who knows it can follow it, so it is kept secret."
    )
    server: ServerUrl = Field("https://ntfy.sh", description="The server's address, without the topic.")
    token: Secret | None = Field(None, description='An access token, "tk_…", where the topic is protected.')


class NtfyChannel(Channel[NtfyOptions]):
    """Pushes to the phones that follow an ntfy topic."""

    name = "ntfy"
    Options = NtfyOptions

    async def send(self, notification: Notification, ctx: Context) -> None:
        headers = {"content-type": "application/json"}
        if self.options.token:
            headers["authorization"] = f"Bearer {self.options.token.reveal()}"
        answer = await ctx.http.request(
            "POST", self.options.server, headers=headers, body=json.dumps(self._message(notification, ctx)).encode()
        )
        answer.raise_for_status(ctx.now)

    def _message(self, notification: Notification, ctx: Context) -> dict[str, Any]:
        words, severity = ctx.render(), notification.event.severity
        return {
            "topic": self.options.topic.reveal(),
            "title": cut(words.title, _TITLE_LIMIT),
            "message": cut_bytes(words.text.strip(), _MESSAGE_LIMIT),
            "priority": PRIORITY[severity],
            "tags": [TAGS[severity]],
            **({"click": words.link} if words.link else {}),
        }


@hookimpl
def notifyd_channels() -> list[type[Channel[Any]]]:
    """One channel."""
    return [NtfyChannel]
