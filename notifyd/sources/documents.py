"""Values inside the JSON that a column holds."""

from __future__ import annotations

import json
import re
from typing import Any, Final

Path = tuple[str, ...]
"""The way to a value: a name of an object, or the number of a list's element, at each step."""


class Malformed:
    """Stands for a document that is not JSON."""


MALFORMED: Final = Malformed()

_STEP = re.compile(r"[^.\[\]]+")


def path_of(text: str) -> Path:
    """The path that a settings file writes as `error.text`, `errors[0].text` or `$.errors[0].text`."""
    return tuple(_STEP.findall(text.removeprefix("$")))


def parse(text: str | bytes | None) -> Any:
    """The document; None for NULL, and MALFORMED for what is not JSON."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError, TypeError):  # TypeError: a number, which is no document
        return MALFORMED


def follow(document: Any, path: Path) -> Any:
    """What stands at the path; None where nothing does."""
    for step in path:
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return None if document is MALFORMED else document


def as_text(value: Any, limit: int) -> str | None:
    """A value as text of at most `limit` characters; None for NULL and for empty text."""
    match value:
        case None | "" | b"":
            return None
        case str():
            text = value
        case bytes():
            text = value[: 4 * limit].decode("utf-8", "replace")
        case bool() | dict() | list():
            text = json.dumps(value, ensure_ascii=False)
        case _:
            text = str(value)
    # JSON may spell half a surrogate pair, which no database and no network takes.
    return cut(text, limit).encode("utf-8", "replace").decode()


def shown(value: Any, limit: int) -> Any:
    """A raw value for a person to look at: as it is, but no bytes and no endless text."""
    return as_text(value, limit) or "" if isinstance(value, str | bytes) else value


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, the last one an ellipsis where some were left out."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
