"""Quiet hours: what is not urgent waits until they are over, and then comes as one digest.

Hours are those of a wall clock in a time zone, summer time included: where a clock is set back, an hour that comes
twice is quiet twice; a time that a clock skips is the moment after the skip.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from notifyd.api import Event, Filter, FilterContext, Form, Hold, Pass, Severity, Verdict, hookimpl

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = get_args(Day)

_CHAIN = 14
"""So many quiet times may follow each other without a pause before one is let through."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ValueError(f'there is no time zone {name!r} here; "Europe/Berlin" and "UTC" are such names') from None
    return name


_WALL_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"


def _wall_time(text: str) -> str:
    if re.fullmatch(_WALL_TIME, text):
        return text
    raise ValueError('is not a time of the day, with hours from 00 to 23: "02:00", "22:30"; midnight is "00:00"')


WallTime = Annotated[str, AfterValidator(_wall_time), Form(f"^{_WALL_TIME}$")]


class QuietTime(BaseModel):
    """From one time of the day to another, or to the same time a day later."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    begins: WallTime = Field(alias="from", description='When it begins: "22:00".', examples=["22:00"])
    ends: WallTime = Field(
        alias="until", description='When it ends: "07:00", on the next day if that is not later.', examples=["07:00"]
    )
    days: Annotated[list[Day], Field(min_length=1)] = Field(
        list(DAYS), description='The days on which it begins: ["sat", "sun"]. Default: every day.'
    )


class QuietHoursOptions(BaseModel):
    """When nobody wants to be disturbed, and by what all the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        "UTC", description="The name of a time zone.", json_schema_extra={"format": "time-zone"}
    )
    times: Annotated[list[QuietTime], Field(min_length=1)] = Field(description="The quiet times of a week.")
    urgent: Severity = Field(Severity.CRITICAL, description="What is at least this severe is never held back.")


class QuietHoursFilter(Filter[QuietHoursOptions]):
    """Holds what is not critical until the quiet hours are over."""

    name = "quiet_hours"
    Options = QuietHoursOptions

    def __init__(self, options: QuietHoursOptions) -> None:
        super().__init__(options)
        self._zone = ZoneInfo(options.timezone)

    def decide(self, event: Event, ctx: FilterContext) -> Verdict:
        if event.severity >= self.options.urgent or (end := self._end(ctx.now)) is None:
            return Pass()
        local = end.astimezone(self._zone)
        return Hold(end, f"quiet hours until {local:%a %H:%M} ({self.options.timezone})")

    def _end(self, now: datetime) -> datetime | None:
        """When quiet ends, over all times that follow each other without a pause; None outside of them."""
        end = None
        for _ in range(_CHAIN):
            later = max(
                (until for since, until in self._around(end or now) if since <= (end or now) < until), default=None
            )
            if later is None:
                break
            end = later
        return end

    def _around(self, moment: datetime) -> list[tuple[datetime, datetime]]:
        """The quiet times that begin on the moment's day or the one before."""
        today = moment.astimezone(self._zone).date()
        return [
            (
                self._moment(day, quiet.begins),
                self._moment(day + timedelta(days=quiet.ends <= quiet.begins), quiet.ends, 1),
            )
            for day in (today - timedelta(days=1), today)
            for quiet in self.options.times
            if DAYS[day.weekday()] in quiet.days
        ]

    def _moment(self, day: date, clock: str, fold: int = 0) -> datetime:
        """A time of the wall clock; of one that comes twice, the first (fold 0) or the second."""
        wall = datetime.combine(day, time.fromisoformat(clock), self._zone)
        again = wall.replace(fold=fold).astimezone(UTC)
        return (
            again
            if again.astimezone(self._zone).replace(tzinfo=None) == wall.replace(tzinfo=None)
            else wall.astimezone(UTC)
        )


@hookimpl
def notifyd_filters() -> list[type[Filter[Any]]]:
    """One filter."""
    return [QuietHoursFilter]
