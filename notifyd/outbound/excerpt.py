"""The start of an answer, as a line that may be shown to anyone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from notifyd.api.masking import forms_of, masked

LONGEST = 500
"""Characters of an answer that are kept."""

_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_SHORTEST_SECRET = 4  # a shorter text is in too many innocent words, and no secret


def excerpt(headers: Mapping[str, str], body: bytes, secrets: Iterable[str]) -> str:
    """At most LONGEST printable characters of the body, with every secret of the request masked.

    Endpoints echo: "Cannot POST /hooks/SECRET" is an ordinary 404.
    """
    if headers.get("content-encoding", "identity") != "identity":
        return ""  # we asked for identity; what came anyway might be a bomb
    text = _UNPRINTABLE.sub(" ", _decoded(headers, body)).strip()
    text = mask(text, secrets)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def mask(text: str, secrets: Iterable[str]) -> str:
    """The text without any form of the secrets, the longest first so that none leaves a rest."""
    may_be_there = (secret for secret in secrets if _SHORTEST_SECRET <= len(secret) <= len(text))
    return masked(text, sorted({form for secret in may_be_there for form in forms_of(secret)}, key=len, reverse=True))


def _decoded(headers: Mapping[str, str], body: bytes) -> str:
    charset = _CHARSET.search(headers.get("content-type", ""))
    try:
        return body.decode(charset[1] if charset else "utf-8", errors="replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", errors="replace")
