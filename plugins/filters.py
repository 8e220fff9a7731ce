"""The filters that come with notifyd: a severity threshold, and exact lists of what an event carries.

A filter that is absent, or null in JSON, means "all": it is never built. Every drop says why in a
sentence, which `notifyd why` shows.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Field, StringConstraints

from notifyd.api import Drop, Event, EventType, Filter, FilterContext, Pass, Severity, Verdict, hookimpl

Name = Annotated[str, StringConstraints(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1)]
EventTypes = Annotated[list[EventType], Field(min_length=1)]
S = TypeVar("S", bound=str)

_LISTED = 8  # how many allowed values a reason names before it only counts them
_LONGEST = 100  # characters of a value that came out of somebody's log


class SeverityFilter(Filter[Severity]):
    """Only events that are at least this severe: info, warning, error or critical."""

    name = "min_severity"
    Options = Severity

    def decide(self, event: Event, ctx: FilterContext) -> Verdict:
        if event.severity >= self.options:
            return Pass()
        return Drop(f"severity {event.severity.value} is below {self.options.value}")


class Among(Filter[list[S]]):
    """Passes an event whose field is exactly one of the listed values, and an event without that field."""

    noun: ClassVar[str]  # what the field is called in a reason

    def __init__(self, options: list[S]) -> None:
        super().__init__(options)
        self._allowed = frozenset(options)
        self._listed = ", ".join(options) if len(options) <= _LISTED else f"the {len(options)} listed"

    @abstractmethod
    def field(self, event: Event) -> str | None:
        """The event's value that the list is about."""

    def decide(self, event: Event, ctx: FilterContext) -> Verdict:
        value = self.field(event)
        if value is None:
            return self.without()
        if value in self._allowed:
            return Pass()
        return Drop(f"{self.noun} {_short(value)} is not among {self._listed}")

    def without(self) -> Verdict:
        """An event without the field concerns every value: a lost connection stops every entity type."""
        return Pass()


class ConnectorFilter(Among[str]):
    """Only events of these connectors, or of none."""

    name = "connectors"
    noun = "connector"
    Options = Names

    def field(self, event: Event) -> str | None:
        return event.connector_id


class EntityTypeFilter(Among[str]):
    """Only events about these entity types, or about none in particular."""

    name = "entity_types"
    noun = "entity type"
    Options = Names

    def field(self, event: Event) -> str | None:
        return event.entity_type


class ErrorTypeFilter(Among[str]):
    """Only events with these error types, or with none."""

    name = "error_types"
    noun = "error type"
    Options = Names

    def field(self, event: Event) -> str | None:
        return event.error_type


class EventTypeFilter(Among[EventType]):
    """Only events of these types."""

    name = "event_types"
    noun = "event type"
    Options = EventTypes

    def field(self, event: Event) -> str | None:
        return event.event_type


class TenantFilter(Among[str]):
    """Only events of these tenants; an event that names no tenant is dropped too.

    The other lists say what a person cares for; this one says what a person may see. An event
    without a tenant may be another's (a source whose log has no tenant, a failing channel of a
    neighbour), so it goes to configs that are not limited to tenants.
    """

    name = "tenants"
    noun = "tenant"
    Options = Names

    def field(self, event: Event) -> str | None:
        return event.tenant_id

    def without(self) -> Verdict:
        return Drop(f"the event names no tenant, and this config is limited to {self._listed}")


def _short(value: str) -> str:
    """A value out of somebody's log, on one line."""
    return " ".join(value[:_LONGEST].splitlines())


@hookimpl
def notifyd_filters() -> list[type[Filter[Any]]]:
    """All of them, in the order of the documentation."""
    return [SeverityFilter, ConnectorFilter, EntityTypeFilter, ErrorTypeFilter, EventTypeFilter, TenantFilter]
