"""What a filter is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from notifyd.model import Event, Verdict

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FilterContext:
    """What a filter may look at beside the event."""

    now: datetime
    config: str  # the name of the notification config it decides for


class Filter(ABC, Generic[T]):
    """Decides whether one config is told of one event. One instance per config, made at start.

    `name` is the filter's key under `[notifications.filters]`. `Options` is the type of that key's
    value: any type that pydantic validates (`list[str]`, a Literal, a model …).
    """

    name: ClassVar[str]
    Options: ClassVar[Any]
    api_version: ClassVar[int] = 1  # the major version of this API that it is written for

    def __init__(self, options: T) -> None:
        self.options = options

    @abstractmethod
    def decide(self, event: Event, ctx: FilterContext) -> Verdict:
        """Pass(), Drop(reason) or Hold(until). Quick, and without I/O: it runs for every event.

        A filter that raises, is too slow or answers anything else counts as Pass, with the bug
        kept in the verdict.
        """
