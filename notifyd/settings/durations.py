"""Durations as people write them: "200ms", "1s", "5m", "24h", "90d", and "1h30m"."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, PlainValidator, WithJsonSchema

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_PATTERN = "".join(rf"(?:(\d+){unit})?" for unit in _UNITS)
_DURATION = re.compile(_PATTERN, re.ASCII)
_LONGEST = timedelta(days=36_500)


def parse_duration(text: str) -> timedelta:
    """The duration that a text says, units from the largest to the smallest; ValueError if it is none."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f'is not a duration such as "200ms", "30s", "5m", "24h" or "90d"{meant(text)}')
    try:
        duration = sum((int(count or 0) * unit for count, unit in _counts(match)), timedelta())
    except (OverflowError, ValueError):  # ValueError: thousands of digits
        duration = timedelta.max
    if duration > _LONGEST:
        raise ValueError(f"is longer than {format_duration(_LONGEST)}")
    return duration


def format_duration(duration: timedelta) -> str:
    """Short text that `parse_duration` reads as this duration, to the millisecond; "24h" and "36h", but "2d"."""
    parts = []
    units = dict(_UNITS)
    if duration < 2 * units["d"]:
        del units["d"]
    for unit, size in units.items():
        count, duration = divmod(duration, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def at_least(shortest: str) -> Callable[[timedelta], timedelta]:
    """A check for pydantic: no shorter than this."""
    return _bound(shortest, lambda duration, bound: duration >= bound, "at least")


def at_most(longest: str) -> Callable[[timedelta], timedelta]:
    """A check for pydantic: no longer than this."""
    return _bound(longest, lambda duration, bound: duration <= bound, "at most")


def _bound(text: str, within: Callable[[timedelta, timedelta], bool], words: str) -> Callable[[timedelta], timedelta]:
    bound = parse_duration(text)

    def check(duration: timedelta) -> timedelta:
        if not within(duration, bound):
            raise ValueError(f"must be {words} {text}")
        return duration

    return check


def as_duration(value: Any) -> timedelta:
    """A duration from a settings file or from code; ValueError with what was expected."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError('expected a duration in quotes, such as "30s" or "5m"')
    return parse_duration(value)


def _counts(match: re.Match[str]) -> list[tuple[str | None, timedelta]]:
    return list(zip(match.groups(), _UNITS.values(), strict=True))


def meant(text: str) -> str:
    """`; did you mean "5m"?`, where only spaces, capitals or long names of units are in the way."""
    short = re.sub(r"(?<=[dhms])(?:ays?|ours?|rs?|in(?:ute)?s?|ec(?:ond)?s?)\b", "", text.lower())
    short = re.sub(r"\s+", "", short)
    return f'; did you mean "{short}"?' if short and _DURATION.fullmatch(short) else ""


DURATION_SCHEMA = {"type": "string", "pattern": rf"^(?=.){_PATTERN}$", "examples": ["30s", "5m", "24h"]}

Duration = Annotated[
    timedelta,
    PlainValidator(as_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(DURATION_SCHEMA),
]
"""A pydantic field that is written as text and read as a timedelta."""

PositiveDuration = Annotated[Duration, AfterValidator(at_least("1ms"))]
