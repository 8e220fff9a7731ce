"""What may not be kept of a log's texts: what a `redact` pattern matches is replaced before anything else is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from notifyd.api import Secret
from notifyd.api.masking import masked
from notifyd.expression import Expression, TooSlow
from notifyd.settings import SourceSettings

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


def hiding(settings: SourceSettings) -> Callable[[str], str]:
    """A function that takes out of what a database says what nobody may see: its password, and what is redacted."""
    redact, secrets = redactor(settings.redact), _passwords(settings.url)

    def hide(text: str) -> str:
        shown = masked(text, secrets)
        return redact(shown) if redact else shown

    return hide


def _passwords(url: Secret) -> tuple[str, ...]:
    """The url's password, as it is written and as it is meant."""
    if not url.resolved:
        return ()
    written = urlsplit(url.reveal()).password or ""
    return tuple(text for text in (written, unquote(written)) if text)
