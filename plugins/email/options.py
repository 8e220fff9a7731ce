"""The options of a config that sends e-mail."""

from __future__ import annotations

import re
import ssl
from functools import cache
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from notifyd.api import TARGET, CaFile, Form, Options, Secret
from notifyd_plugins.email.addresses import Mailbox, ascii_domain

MOST_RECIPIENTS = 100
"""As many as every server has to take at once (RFC 5321, 4.5.3.1.8)."""

_PORTS = {"starttls": 587, "implicit": 465, "none": 25}
_HOST = re.compile(r"(?:[\w-]{1,63}\.)*[\w-]{1,63}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)


def _host(text: str) -> str:
    if "://" in text or re.fullmatch(r"[^:]*:\d*", text):
        raise ValueError("give the host name alone; the port goes into smtp_port")
    text = text if text.isascii() else ascii_domain(text)
    if not _HOST.fullmatch(text):
        raise ValueError("is not a host name")
    return text


_HOST_FORM = "^(?:[A-Za-z0-9_-]{1,63}\\.){0,6}[A-Za-z0-9_-]{1,63}$"
_GIVEN: JsonDict = {"not": {"type": "null"}}
_BOTH_OR_NEITHER: list[JsonDict] = [
    {"properties": {"smtp_username": {"type": "null"}, "smtp_password": {"type": "null"}}},
    {
        "required": ["smtp_username", "smtp_password"],
        "properties": {"smtp_username": _GIVEN, "smtp_password": _GIVEN},
    },
]


class EmailOptions(Options):
    """Which server takes the mail, from whom it comes, and to whom it goes."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [*_BOTH_OR_NEITHER]})

    smtp_host: Annotated[str, AfterValidator(_host), Form(_HOST_FORM), TARGET] = Field(
        description="The mail server.", examples=["mail.example.com"]
    )
    smtp_port: Annotated[int | None, TARGET] = Field(
        None,
        ge=1,
        le=65535,
        description="Its port. Default: what tls says, 587 (starttls), 465 (implicit) or 25 (none).",
    )
    smtp_username: str | None = Field(None, min_length=1, description="The name to log in with. Default: no login.")
    smtp_password: Secret | None = Field(None, description="The password of smtp_username.")
    from_address: Mailbox = Field(
        description="The sender: notifyd@example.com, or Sync Monitor <notifyd@example.com>.",
        examples=["notifyd@example.com"],
    )
    to_addresses: list[Mailbox] = Field(
        min_length=1, description="The recipients. They share one message.", examples=[["ops@example.com"]]
    )
    cc_addresses: list[Mailbox] = Field([], description="Who gets a copy, as everyone can see.")
    tls: Annotated[Literal["starttls", "implicit", "none"], TARGET] = Field(
        "starttls",
        description='"starttls": encrypted or not sent; "implicit": TLS from the first byte; '
        '"none": nothing is encrypted, the password included.',
    )
    ca_file: CaFile | None = Field(
        None, description="A PEM file of the certificates to trust instead of the system's, for a CA of your own."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.smtp_username is None) != (self.smtp_password is None):
            raise ValueError("smtp_username and smtp_password go together: set both or neither")
        if self.ca_file and self.tls == "none":
            raise ValueError('ca_file has no use with tls = "none"')
        if len(self.to_addresses) + len(self.cc_addresses) > MOST_RECIPIENTS:
            raise ValueError(f"a message goes to at most {MOST_RECIPIENTS} recipients; use a mailing list")
        return self

    @property
    def port(self) -> int:
        """The port, given or implied."""
        return self.smtp_port or _PORTS[self.tls]

    @property
    def server(self) -> str:
        """Host and port, for people."""
        host = f"[{self.smtp_host}]" if ":" in self.smtp_host else self.smtp_host
        return f"{host}:{self.port}"

    def trust(self) -> ssl.SSLContext:
        """TLS that trusts what `ca_file` holds and nothing else, or what this machine trusts. Raises OSError."""
        return ssl.create_default_context(cafile=self.ca_file) if self.ca_file else _trust_of_this_machine()


@cache
def _trust_of_this_machine() -> ssl.SSLContext:
    """One for all configs: it takes long to make, and weighs much."""
    return ssl.create_default_context()
