"""Sends each notification as JSON to a URL."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from notifyd.api import Channel, Context, Notification, Options, Secret, SecretUrl, hookimpl

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OURS = frozenset(
    {"idempotency-key", "webhook-id", "connection", "content-length", "host", "te", "transfer-encoding", "upgrade"}
)


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("is not a header name")
    if name.lower() in _OURS:
        raise ValueError("this header is set by notifyd itself; remove it")
    return name


def _header_value(value: Secret) -> Secret:
    if value.resolved:
        text = value.reveal()
        if _CONTROL.search(text):
            raise ValueError("holds a line break or another control character")
        if text != text.strip():
            raise ValueError("begins or ends with a space")
    return value


HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[Secret, AfterValidator(_header_value)]


class WebhookOptions(Options):
    """Where to send, and how to prove who sends."""

    url: SecretUrl = Field(description="The http or https URL that takes the notifications.")
    method: Literal["POST", "PUT", "PATCH"] = Field("POST", description="The HTTP method.")
    headers: dict[HeaderName, HeaderValue] = Field({}, description="Headers to send along; their values are secret.")
    auth_token: HeaderValue | None = Field(None, description='Sent as "Authorization: Bearer …".')

    @model_validator(mode="after")
    def _each_header_once(self) -> Self:
        names = [name.lower() for name in self.headers] + ["authorization"] * (self.auth_token is not None)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice == "authorization" and self.auth_token:
            raise ValueError("auth_token and the header Authorization are the same; keep one of them")
        if twice:
            raise ValueError(f"the header {twice} is there twice, in different spellings; keep one of them")
        return self


class WebhookChannel(Channel[WebhookOptions]):
    """Sends the event and its notification as JSON to an http or https URL.

    A repeat after a lost answer carries the same Idempotency-Key and webhook-id, so that the
    receiver can drop it.
    """

    name = "webhook"
    Options = WebhookOptions

    async def send(self, notification: Notification, ctx: Context) -> None:
        answer = await ctx.http.request(
            self.options.method,
            self.options.url.reveal(),
            headers=self._headers(notification),
            body=json.dumps(notification.as_json()).encode(),
        )
        answer.raise_for_status(ctx.now)

    def _headers(self, notification: Notification) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "idempotency-key": notification.id,
            "webhook-id": notification.id,
        }
        if self.options.auth_token:
            headers["authorization"] = f"Bearer {self.options.auth_token.reveal()}"
        return headers | {name.lower(): value.reveal() for name, value in self.options.headers.items()}


@hookimpl
def notifyd_channels() -> list[type[Channel[Any]]]:
    """One channel."""
    return [WebhookChannel]
