"""Filters of people's templates that Jinja2 does not have, or has without a bound."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Undefined

from notifyd.render.budget import counted, take
from notifyd.render.cleaning import moment
from notifyd.render.language import Refused

_LONGEST_FORMAT = 100


def as_text(value: Any) -> str:
    """A value as it is printed: nothing for what is None, times as people read them.

    Lists and tables are not printed, for nobody wants to read them as Python writes them.
    """
    if value is None:
        return ""
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, str | int | float | timedelta | Undefined):
        return str(value)  # which raises for what is missing
    raise Refused('a list or table cannot be printed; write {{ … | join(", ") }}, or a loop')


def join(items: Iterable[Any], between: str = "", attribute: str | None = None) -> str:
    """The items as one text, with `between` between each two of them; of tables, what they have under `attribute`."""
    texts = [as_text(item if attribute is None else item[attribute]) for item in counted(items)]
    take(sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


def replace(value: Any, old: str, new: str) -> str:
    """The text with `new` wherever `old` was."""
    text = as_text(value)
    take(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def time(moment: datetime, form: str = "%Y-%m-%d %H:%M", zone: str = "UTC") -> str:
    """A time in a form of strftime and in a time zone: `time("%H:%M", "America/Edmonton")`."""
    if len(form) > _LONGEST_FORMAT:
        raise Refused(f"the form of a time may have at most {_LONGEST_FORMAT} characters")
    try:
        return moment.astimezone(ZoneInfo(zone)).strftime(form)
    except (OSError, LookupError):
        raise Refused(f'"{zone}" is not a time zone') from None
