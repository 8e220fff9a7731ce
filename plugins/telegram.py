"""Sends to a Telegram chat through a bot (https://core.telegram.org/bots/api#sendmessage).

The bot has to be a member of the group or channel; a person has to have written to it first.
"""

from __future__ import annotations

import html
import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from notifyd.api import (
    Answer,
    Channel,
    Context,
    Form,
    HttpOptions,
    Notification,
    Reject,
    Rendered,
    Retry,
    Secret,
    Severity,
    hookimpl,
)
from notifyd_plugins.lengths import cut
from notifyd_plugins.server_url import ServerUrl

_LIMIT = 4096  # characters, after Telegram has taken out the tags
_COME_AGAIN = {408, 425, 429}


_FORM = "[0-9]+:[A-Za-z0-9_-]+"


def _token(token: Secret) -> Secret:
    if token.resolved and not re.fullmatch(_FORM, token.reveal()):
        raise ValueError('is not a bot\'s token: @BotFather gives one, "123456:ABC-DEF…"')
    return token


ChatId = Annotated[str, StringConstraints(pattern=r"^(-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]{3,31})$")]


class TelegramOptions(HttpOptions):
    """Which bot writes to which chat."""

    bot_token: Annotated[Secret, AfterValidator(_token), Form(f"^{_FORM}$")] = Field(
        description="The bot's token, from @BotFather."
    )
    chat_id: ChatId = Field(
        description='The chat\'s number ("-100…" for groups), or "@name" of a public channel.',
        examples=["-1001234567890"],
    )
    thread_id: int | None = Field(None, ge=1, description="The topic in a group that has topics.")
    server: ServerUrl = Field("https://api.telegram.org", description="The address of a Bot API server.")


class TelegramChannel(Channel[TelegramOptions]):
    """Sends a message to a Telegram chat; what is only for information arrives without a sound."""

    name = "telegram"
    Options = TelegramOptions

    async def send(self, notification: Notification, ctx: Context) -> None:
        server, token = self.options.server, self.options.bot_token.reveal()
        answer = await ctx.http.request(
            "POST",
            f"{server}/bot{token}/sendMessage",
            headers={"content-type": "application/json"},
            body=json.dumps(self._message(notification, ctx.render())).encode(),
        )
        judge(answer)

    def _message(self, notification: Notification, words: Rendered) -> dict[str, Any]:
        title = cut(words.title, 200)
        text = cut(words.text.strip(), _LIMIT - len(title) - 1)
        return {
            "chat_id": self.options.chat_id,
            "text": f"<b>{html.escape(title)}</b>\n<pre>{html.escape(text)}</pre>",
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
            "disable_notification": notification.event.severity is Severity.INFO,
            **({"message_thread_id": self.options.thread_id} if self.options.thread_id else {}),
        }


def judge(answer: Answer) -> None:
    """Read Telegram's own words: its body says what was wrong, and how long to wait."""
    if 200 <= answer.status < 300:
        return
    try:
        said = json.loads(answer.excerpt)
        reason, more = f"HTTP {answer.status}: {said['description']}", said.get("parameters", {})
        after, moved = more.get("retry_after"), more.get("migrate_to_chat_id")
    except (ValueError, TypeError, KeyError, AttributeError):
        reason, after, moved = f"HTTP {answer.status}: {answer.excerpt}", answer.retry_after(), None
    if answer.status in _COME_AGAIN or answer.status >= 500:
        raise Retry(reason, float(after) if isinstance(after, int | float) else None, status_code=answer.status)
    if isinstance(moved, int):
        reason += f" (the group has another number now: set chat_id to {moved})"
    raise Reject(reason, status_code=answer.status)


@hookimpl
def notifyd_channels() -> list[type[Channel[Any]]]:
    """One channel."""
    return [TelegramChannel]
