"""What may not be kept of a log's texts: what a `redact` pattern matches is replaced before anything else is done."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

REDACTED: Final = "[redacted]"
"""What stands in the place of a text that was matched."""


def redactor(patterns: Sequence[re.Pattern[str]]) -> Callable[[str], str] | None:
    """A function that redacts a text by all of the patterns; None where there are none."""
    if not patterns:
        return None

    def redact(text: str) -> str:
        for pattern in patterns:
            text = pattern.sub(REDACTED, text)
        return text

    return redact
