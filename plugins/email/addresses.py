"""E-mail addresses that cannot break out of a header or a command."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from notifyd.api import Form

if TYPE_CHECKING:
    from email.headerregistry import Address

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
"""A domain in the form in which the DNS has it."""

_ATOM = r"(?:[\w!#$%&'*+/=?^`{|}~-]|[^\x00-\x7f])+"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*", re.ASCII)
_MAILBOX = re.compile(r'(?:"?(?P<name>[^<>"\\]*?)"?\s*<(?P<spec>[^<>]+)>|(?P<bare>[^<>]+))')


def parse_mailbox(text: str) -> Address:
    """`ops@example.com` or `Ops <ops@example.com>`, as an address; ValueError if it is none.

    Stricter than RFC 5322, and not left to the standard library: its parser takes nearly anything,
    and decodes `=?…?=` on the way. An international domain is turned into its ASCII form; what stands
    before the @ has none (RFC 6531), so that only some servers take it.
    """
    from email.headerregistry import Address  # large, and of no use where no config sends e-mail

    text = unicodedata.normalize("NFC", text.strip())
    match = _MAILBOX.fullmatch(text)
    if match and "=?" not in text:
        name, spec = match["name"] or "", match["spec"] or match["bare"]
        local, _, domain = spec.rpartition("@")
        if (domain := ascii_domain(domain)) and name.isprintable() and _is_local_part(local):
            return Address(name, local, domain)
    raise ValueError("is not an e-mail address; expected ops@example.com or Ops <ops@example.com>")


def ascii_domain(domain: str) -> str:
    """The domain as the DNS has it (IDNA 2008, RFC 5891); empty where it is no domain."""
    if not domain.isascii():
        import idna  # large, and seldom needed

        try:
            domain = idna.encode(domain, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return ""
    return domain if len(domain) <= 253 and DOMAIN.fullmatch(domain) else ""


def _is_local_part(text: str) -> bool:
    """Whether it has the form and at most the length that RFC 5321 and 6531 give it."""
    return bool(_LOCAL_PART.fullmatch(text)) and text.isprintable() and len(text.encode()) <= 64


def _mailbox(text: str) -> str:
    parse_mailbox(text)
    return text


_SHORT_ATOM, _SHORT_LABEL = "[A-Za-z0-9!#$%&'*+/^_`{|}~-]{1,31}", "[A-Za-z0-9](?:[A-Za-z0-9-]{0,59}[A-Za-z0-9])?"
_SPEC = rf"{_SHORT_ATOM}(?:\.{_SHORT_ATOM})?@{_SHORT_LABEL}(?:\.{_SHORT_LABEL}){{0,3}}"

Mailbox = Annotated[str, AfterValidator(_mailbox), Form(f"^(?:{_SPEC}|[A-Za-z0-9 .,'_-]* <{_SPEC}>)$")]
"""The text of an address, checked; its Form is that of the usual ones."""
