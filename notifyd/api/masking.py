"""The last guard of secrets: what a plugin's options hold is taken out of every text that leaves it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from notifyd.api.options import MASK, Secret, SecretUrl

_LONG_ENOUGH = 8


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
    return tuple(sorted(found, key=len, reverse=True))


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text with a mask in the place of each secret."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text


def _texts_of(secret: Secret) -> Iterator[str]:
    """The secret, and of a URL also the parts that a library may name by themselves; not `/hook`, a word of its own."""
    yield secret.reveal()
    if isinstance(secret, SecretUrl):
        url = urlsplit(secret.reveal())
        parts = (url.path, url.query, f"{url.path}?{url.query}", url.username, url.password)
        yield from (part for part in parts if part and len(part) >= _LONG_ENOUGH)
