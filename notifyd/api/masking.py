"""The last guard of secrets: what a plugin's options hold is taken out of every text that leaves it."""

from __future__ import annotations

import functools
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from pydantic import BaseModel

from notifyd.api.options import MASK, Secret, SecretUrl

_LONG_ENOUGH, _A_WORD = 8, 4  # characters

_HERE: ContextVar[tuple[str, ...]] = ContextVar("secrets of the plugin at work", default=())


def secrets_of(options: Any) -> tuple[str, ...]:
    """Every secret text in a channel's options, the longest first, so that no part of one is left standing."""
    found: set[str] = set()
    pending = [options]
    while pending:
        value = pending.pop()
        if isinstance(value, Secret):
            found.update(_texts_of(value) if value.resolved else [])
        elif isinstance(value, BaseModel):
            pending += [getattr(value, name) for name in type(value).model_fields]
        elif isinstance(value, Mapping):
            pending += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            pending += value
    forms = {form for text in found for form in forms_of(text)}
    return tuple(sorted(forms, key=len, reverse=True))


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text with a mask in the place of each secret, whatever the case of its letters if it is no short word."""
    lower = text.lower()
    for secret in secrets:
        if len(secret) < _A_WORD:
            text = text.replace(secret, MASK)
        elif secret.lower() in lower:
            text = re.sub(re.escape(secret), MASK, text, flags=re.IGNORECASE)
    return text


@functools.lru_cache(maxsize=1024)
def forms_of(secret: str) -> frozenset[str]:
    """The secret as whoever was given it may repeat it: as it is, or as part of a URL, of JSON or of HTML."""
    odd = "surrogateescape"  # bytes of the environment that are no UTF-8
    quoted = {quote(secret, safe="", errors=odd), quote(secret, errors=odd), quote_plus(secret, errors=odd)}
    as_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return frozenset({secret, html.escape(secret), *quoted, *as_json, *(each.replace("/", "\\/") for each in as_json)})


@contextmanager
def masking(secrets: tuple[str, ...]) -> Iterator[None]:
    """A plugin is at work in here, and in the tasks that it begins: what it prints or logs has no such secret."""
    token = _HERE.set(secrets)
    try:
        yield
    finally:
        _HERE.reset(token)


def masked_here(text: str) -> str:
    """The text without the secrets of the plugin that is at work here, if one is."""
    return masked(text, _HERE.get())


def _texts_of(secret: Secret) -> Iterator[str]:
    """The secret, its lines, as a log has them, and of a URL the parts that a library may name by themselves.

    Not `/hook`, a word of its own; a short password only as it stands in a URL.
    """
    text = secret.reveal()
    yield text
    yield from (line for line in text.splitlines() if len(line) >= _LONG_ENOUGH)
    if isinstance(secret, SecretUrl):
        url = urlsplit(text)
        parts = (url.path, url.query, f"{url.path}?{url.query}", url.username, url.password)
        yield from (part for part in parts if part and len(part) >= _LONG_ENOUGH)
        yield from {f":{url.password}@", f":{unquote(url.password)}@"} if url.password else ()
