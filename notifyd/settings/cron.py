"""Cron expressions, strictly checked: APScheduler reads `mon#1` as `mon` and counts weekdays from Monday."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from notifyd.settings.durations import as_duration, format_duration, meant

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

_EXPECTED = 'an interval such as "1s" or "5m", or a cron expression such as "*/5 * * * *"'
_FIELDS = ("second", "minute", "hour", "day", "month", "day_of_week")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_ITEM = re.compile(r"\*(?:/\d+)?|\d+(?:-\d+)?(?:/\d+)?|[a-z]{3}(?:-[a-z]{3})?|last", re.ASCII)
_WEEKDAY_RANGE = re.compile(r"(?P<first>\d|[a-z]+|\*)(?:-(?P<last>\d|[a-z]+))?(?:/(?P<step>[1-9]\d*))?", re.ASCII)


@dataclass(frozen=True)
class Cron:
    """A cron expression: 5 fields (minute first), or 6 with seconds first; weekdays 0 to 7, 0 and 7 are Sunday.

    Fields take `*`, `*/5`, `1-5`, `1,15`, names (`mon-fri`, `jan`) and, for the day, `last`. Where both
    the day and the weekday are given, both must match. Raises ValueError with one line.
    """

    expression: str

    def __post_init__(self) -> None:
        trigger = self.trigger(UTC)
        if trigger.get_next_fire_time(None, datetime(2000, 1, 1, tzinfo=UTC)) is None:
            raise ValueError("is a cron expression for a moment that never comes")

    def trigger(self, timezone: tzinfo) -> CronTrigger:
        """The APScheduler trigger that fires at these times in this zone."""
        from apscheduler.triggers.cron import CronTrigger  # costly, and most settings need no cron

        fields = self._fields()
        try:
            return CronTrigger(**fields, timezone=timezone)
        except ValueError as error:
            raise ValueError(f"is not a cron expression: {str(error).rpartition(': ')[2]}") from None

    def _fields(self) -> dict[str, str]:
        fields = self.expression.lower().split()
        if len(fields) not in (5, 6):
            raise ValueError(f"has {len(fields)} fields; a cron expression has 5, or 6 with seconds first")
        if len(fields) == 5:
            fields.insert(0, "0")
        for name, field in zip(_FIELDS, fields, strict=True):
            _check(name, field)
        return dict(zip(_FIELDS, [*fields[:-1], _weekdays(fields[-1])], strict=True))


def _check(name: str, field: str) -> None:
    """Refuse what APScheduler would read only half of, or silently as something else."""
    for item in field.split(","):
        if not _ITEM.fullmatch(item) or (item == "last" and name != "day"):
            raise ValueError(f'is not a cron expression: "{item}" is no {name.replace("day_of_week", "weekday")}')


def _weekdays(field: str) -> str:
    """Weekdays one by one and by name, because APScheduler's 0 and first day is Monday, and cron's Sunday."""
    return "*" if field == "*" else ",".join(name for item in field.split(",") for name in _weekday(item))


def _weekday(item: str) -> list[str]:
    match = _WEEKDAY_RANGE.fullmatch(item)
    if match is None:
        raise ValueError(f'is not a cron expression: "{item}" is no weekday')
    first, last = _first_and_last(match)
    if not first <= last <= 7:
        raise ValueError(
            f'is not a cron expression: weekdays run forwards from 0 (Sunday) to 7 (Sunday), and "{item}" does not'
        )
    return [_WEEKDAYS[day % 7] for day in range(first, last + 1, int(match["step"] or 1))]


def _first_and_last(match: re.Match[str]) -> tuple[int, int]:
    if match["first"] == "*":
        return 0, 6
    first = _weekday_number(match["first"])
    if match["last"] is None:
        return first, 6 if match["step"] else first
    last = _weekday_number(match["last"])
    return first, 7 if last == 0 < first else last


def _weekday_number(word: str) -> int:
    """0 for Sunday … 6 for Saturday, and 7 for Sunday again."""
    if word.isdigit():
        return int(word)
    if word not in _WEEKDAYS:
        raise ValueError(f'is not a cron expression: "{word}" is no weekday')
    return _WEEKDAYS.index(word)


def _as_poll(value: Any) -> timedelta | Cron:
    """An interval, or a cron expression where the text looks like one."""
    if isinstance(value, Cron):
        return value
    if isinstance(value, str) and (len(value.split()) > 2 or value.startswith(("*", "@"))):
        return Cron(value)
    try:
        interval = as_duration(value)
    except ValueError:
        hint = meant(value) if isinstance(value, str) else ""
        raise ValueError(f"expected {_EXPECTED}{hint}") from None
    if interval < as_duration("100ms"):
        raise ValueError("must be at least 100ms")
    return interval


def _written(poll: timedelta | Cron) -> str:
    return poll.expression if isinstance(poll, Cron) else format_duration(poll)


Poll = Annotated[
    timedelta | Cron,
    PlainValidator(_as_poll),
    PlainSerializer(_written, return_type=str),
    WithJsonSchema({"type": "string", "minLength": 1, "examples": ["1s", "5m", "*/5 * * * *"]}),
]
"""A pydantic field: how often a source is read."""
