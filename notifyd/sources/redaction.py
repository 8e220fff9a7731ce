"""What may not be kept of a log's texts: what a `redact` pattern matches is replaced before anything else is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from notifyd.expression import Expression, TooSlow

REDACTED: Final = "[redacted]"
"""What stands in the place of a text that was matched."""


TOO_SLOW: Final = "[redacted, as a redact pattern took too long]"
"""What stands in the place of a text in which a search had to be stopped."""


def redactor(patterns: Sequence[Expression]) -> Callable[[str], str] | None:
    """A function that redacts a text by all of the patterns; None where there are none."""
    if not patterns:
        return None

    def redact(text: str) -> str:
        try:
            for pattern in patterns:
                text = pattern.replaced_in(text, REDACTED)
        except TooSlow:
            return TOO_SLOW
        return text

    return redact
