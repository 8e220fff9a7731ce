"""Sends each notification as JSON to a URL, signed where a secret is shared with the receiver.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com), for which receivers find a
library in most languages.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from notifyd.api import Channel, Context, Form, HttpOptions, Notification, Secret, SecretUrl, hookimpl

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OURS = frozenset(
    {"idempotency-key", "webhook-id", "webhook-timestamp", "webhook-signature", "connection", "content-length",
     "host", "te", "transfer-encoding", "upgrade"}
)  # fmt: skip

SIGNING_PREFIX = "whsec_"
SIGNING_BYTES = range(24, 65)
"""How long a key is, by the specification."""


# Options


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


def _username(name: str) -> str:
    if ":" in name or _CONTROL.search(name):
        raise ValueError("a user name for HTTP holds no colon and no control character")
    return name


def _password(value: Secret) -> Secret:
    if value.resolved and _CONTROL.search(value.reveal()):
        raise ValueError("holds a line break or another control character")
    return value


def _signing_secret(value: Secret) -> Secret:
    if value.resolved:
        signing_key(value)
    return value


def signing_key(secret: Secret) -> bytes:
    """The bytes to sign with. Raises ValueError, without quoting the secret, where it is none."""
    prefix, encoded = secret.reveal()[: len(SIGNING_PREFIX)], secret.reveal()[len(SIGNING_PREFIX) :]
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if prefix != SIGNING_PREFIX or len(key) not in SIGNING_BYTES:
        raise ValueError(
            f'must be "{SIGNING_PREFIX}" and then {SIGNING_BYTES[0]} to {SIGNING_BYTES[-1]} random bytes in base64; '
            f'make one with: echo "{SIGNING_PREFIX}$(openssl rand -base64 32)"'
        )
    return key


def _any_case(names: Iterable[str]) -> str:
    """A pattern of these names, however they are written: JSON Schema has no flag for that."""
    return "|".join("".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in name) for name in sorted(names))


_SEEN = "[^\\x00-\\x20\\x7f\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]"
_VALUE = f"^{_SEEN}(?:[^\\x00-\\x1f\\x7f]*{_SEEN})?$"
_SIGNING = "^whsec_(?:[A-Za-z0-9+/]{4}){8,21}$"

HeaderName = Annotated[
    str, AfterValidator(_header_name), Form(f"^(?!(?:{_any_case(_OURS)})$)[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
]
HeaderValue = Annotated[Secret, AfterValidator(_header_value), Form(_VALUE)]
Username = Annotated[str, AfterValidator(_username), Form("^[^\\x00-\\x1f\\x7f:]*$")]
Password = Annotated[Secret, AfterValidator(_password), Form("^[^\\x00-\\x1f\\x7f]+$")]
SigningSecret = Annotated[Secret, AfterValidator(_signing_secret), Form(_SIGNING)]

_GIVEN: JsonDict = {"not": {"type": "null"}}
_NOT_GIVEN: JsonDict = {"type": "null"}
_NO_AUTHORIZATION: JsonDict = {"propertyNames": {"not": {"pattern": f"^(?:{_any_case(['authorization'])})$"}}}
_ONE_WAY_TO_AUTHORIZE: list[JsonDict] = [
    {"properties": {"username": _NOT_GIVEN, "password": _NOT_GIVEN, "auth_token": _NOT_GIVEN}},
    {"properties": {"username": _NOT_GIVEN, "password": _NOT_GIVEN, "headers": _NO_AUTHORIZATION}},
    {
        "required": ["username", "password"],
        "properties": {
            "username": _GIVEN,
            "password": _GIVEN,
            "auth_token": _NOT_GIVEN,
            "headers": _NO_AUTHORIZATION,
        },
    },
]


class WebhookOptions(HttpOptions):
    """Where to send, and how to prove who sends."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [*_ONE_WAY_TO_AUTHORIZE]})

    url: SecretUrl = Field(description="The http or https URL that takes the notifications.")
    method: Literal["POST", "PUT", "PATCH"] = Field("POST", description="The HTTP method.")
    headers: dict[HeaderName, HeaderValue] = Field({}, description="Headers to send along; their values are secret.")
    auth_token: HeaderValue | None = Field(None, description='Sent as "Authorization: Bearer …".')
    username: Username | None = Field(None, description="For basic authentication, together with password.")
    password: Password | None = Field(None, description="The password of username.")
    signing_secrets: list[SigningSecret] = Field(
        [],
        description='Standard Webhooks secrets, "whsec_…". Each signs, so that one can be replaced without a gap.',
    )

    @model_validator(mode="after")
    def _each_header_once(self) -> Self:
        names = [name.lower() for name in self.headers]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the header {twice} is there twice, in different spellings; keep one of them")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together: set both or neither")
        if len(ways := list(self._ways_to_authorize())) > 1:
            raise ValueError(f"{' and '.join(ways)} are the same; keep one of them")
        return self

    def _ways_to_authorize(self) -> Iterator[str]:
        """All that would set the header Authorization."""
        if self.auth_token:
            yield "auth_token"
        if self.username is not None:
            yield "username"
        if any(name.lower() == "authorization" for name in self.headers):
            yield "the header Authorization"
        if self.url.resolved and urllib.parse.urlsplit(self.url.reveal()).username is not None:
            yield "the user in the url"

    @property
    def authorization(self) -> str | None:
        """The header's value, where an option of its own gives it."""
        if self.auth_token:
            return f"Bearer {self.auth_token.reveal()}"
        if self.username is not None and self.password:
            pair = f"{self.username}:{self.password.reveal()}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        return None


# The channel


class WebhookChannel(Channel[WebhookOptions]):
    """Sends the event and its notification as JSON to an http or https URL.

    A repeat after a lost answer carries the same Idempotency-Key and webhook-id, so that the
    receiver can drop it.
    """

    name = "webhook"
    Options = WebhookOptions

    async def send(self, notification: Notification, ctx: Context) -> None:
        body = json.dumps(notification.as_json()).encode()
        answer = await ctx.http.request(
            self.options.method,
            self.options.url.reveal(),
            headers={**self._headers(ctx), **self._signature(ctx, body)},
            body=body,
        )
        answer.raise_for_status(ctx.now)

    def _headers(self, ctx: Context) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "idempotency-key": ctx.delivery_id,
            "webhook-id": ctx.delivery_id,
        }
        if authorization := self.options.authorization:
            headers["authorization"] = authorization
        return headers | {name.lower(): value.reveal() for name, value in self.options.headers.items()}

    def _signature(self, ctx: Context, body: bytes) -> dict[str, str]:
        """The headers by which a receiver knows who sent this body, and that it was sent just now."""
        if not self.options.signing_secrets:
            return {}
        timestamp = str(int(ctx.now.timestamp()))
        signed = b".".join([ctx.delivery_id.encode(), timestamp.encode(), body])
        signatures = (sign(signing_key(secret), signed) for secret in self.options.signing_secrets)
        return {"webhook-timestamp": timestamp, "webhook-signature": " ".join(signatures)}


def sign(key: bytes, signed: bytes) -> str:
    """One signature of scheme v1: HMAC-SHA256, in base64."""
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


@hookimpl
def notifyd_channels() -> list[type[Channel[Any]]]:
    """One channel."""
    return [WebhookChannel]
