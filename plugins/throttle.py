"""A limit for one config: so many events in a time, and what is beyond it waits and then comes as one digest.

Nothing is dropped. What was counted is kept in memory only, so a restart begins to count anew: then a few more may
come at once, and never one less.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, deque
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from notifyd.api import Event, Filter, FilterContext, Form, Hold, Pass, Severity, Verdict, hookimpl

_KINDS = 10_000
"""At most so many kinds of events are counted apart; the one that was quiet for longest is forgotten first."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

By = Literal["event_type", "connector_id", "entity_type", "error_type", "tenant_id", "schedule_id", "source"]


_FORM = "^(?=.*[1-9])([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"


def _period(text: str) -> timedelta:
    return timedelta(**{_UNITS[unit]: int(number) for number, unit in re.findall("([0-9]+)([smhd])", text)})


def _duration(text: str) -> str:
    if not re.fullmatch(_FORM, text):
        raise ValueError('is not a duration such as "30s", "10m", "1h30m" or "1d"')
    return text


class ThrottleOptions(BaseModel):
    """How many, in what time, and what is counted apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    most: Annotated[int, Field(ge=1, le=1000)] = Field(description="So many events are told at once …", examples=[10])
    per: Annotated[str, AfterValidator(_duration), Form(_FORM)] = Field(
        description='… in this time: "10m", "1h".', examples=["10m"]
    )
    by: list[By] = Field([], description="Fields whose values are counted apart. Default: all events together.")
    urgent: Severity = Field(Severity.CRITICAL, description="What is at least this severe is neither held nor counted.")

    @property
    def period(self) -> timedelta:
        """The time as a duration."""
        return _period(self.per)


class ThrottleFilter(Filter[ThrottleOptions]):
    """Holds what is more than a number of events in a time."""

    name = "throttle"
    Options = ThrottleOptions

    def __init__(self, options: ThrottleOptions) -> None:
        super().__init__(options)
        self._passed: OrderedDict[tuple[str | None, ...], deque[datetime]] = OrderedDict()
        self._lock = threading.Lock()  # each source asks from a thread of its own

    def decide(self, event: Event, ctx: FilterContext) -> Verdict:
        if event.severity >= self.options.urgent:
            return Pass()
        with self._lock:
            return self._counted(tuple(getattr(event, field) for field in self.options.by), ctx.now)

    def _counted(self, kind: tuple[str | None, ...], now: datetime) -> Verdict:
        passed = self._passed.setdefault(kind, deque(maxlen=self.options.most))
        self._passed.move_to_end(kind)
        if len(self._passed) > _KINDS:
            self._passed.popitem(last=False)
        # A clock that was set back must not hold for longer than one period.
        if len(passed) == self.options.most and now - passed[0] < self.options.period:
            until = min(passed[0], now) + self.options.period
            return Hold(until, f"more than {self.options.most} in {self.options.per}")
        passed.append(now)
        return Pass()


@hookimpl
def notifyd_filters() -> list[type[Filter[Any]]]:
    """One filter."""
    return [ThrottleFilter]
