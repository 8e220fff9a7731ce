r"""Patterns on any field of an event, for what the exact lists cannot say.

    [notifications.filters.match]
    only = { message = "timed? ?out|unreachable" }
    never = { "details.order" = '^TEST-\d+$' }

Patterns are regular expressions, found anywhere in the text and in any case of letters.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from notifyd.api import Drop, Event, Filter, FilterContext, Pass, Verdict, compile_pattern, hookimpl

TIMEOUT: Final = 0.02
"""Seconds that one pattern may search; beyond that the filter fails, and the event passes."""

_LONGEST = 100  # characters of a value that came out of somebody's log


def _pattern(text: str) -> str:
    compile_pattern(text)
    return text


Place = Annotated[
    str,
    StringConstraints(
        pattern=r"^(title|message|event_type|severity|connector_id|entity_type|error_type|tenant_id|schedule_id|run_id|source"
        r"|details\..+)$"
    ),
]
Pattern = Annotated[
    str, Field(min_length=1, max_length=1000, json_schema_extra={"format": "regex"}), AfterValidator(_pattern)
]
Patterns = Annotated[dict[Place, Pattern], Field(min_length=1, max_length=20)]


class MatchOptions(BaseModel):
    """Patterns by field: message, title, connector_id …, and details.NAME for what the log adds."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"minProperties": 1})

    only: Patterns = Field(
        {},
        description="Each of these has to be found; a field that is absent is not.",
        examples=[{"message": "timeout|timed out"}],
    )
    never: Patterns = Field({}, description="None of these may be found.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.only or self.never):
            raise ValueError('says nothing; give it only = { message = "…" }, or never = { … }')
        return self


class MatchFilter(Filter[MatchOptions]):
    """Only events in whose fields patterns are found, or are not."""

    name = "match"
    Options = MatchOptions

    def __init__(self, options: MatchOptions) -> None:
        super().__init__(options)
        self._only = {place: compile_pattern(text) for place, text in options.only.items()}
        self._never = {place: compile_pattern(text) for place, text in options.never.items()}

    def decide(self, event: Event, ctx: FilterContext) -> Verdict:
        for place, pattern in self._never.items():
            if found := pattern.search(value(event, place) or "", timeout=TIMEOUT):
                return Drop(f"{place} holds {found[0][:_LONGEST]!r}, as never = {pattern.pattern!r} says")
        for place, pattern in self._only.items():
            text = value(event, place)
            if text is None or not pattern.search(text, timeout=TIMEOUT):
                return Drop(f"{place} does not hold what only = {pattern.pattern!r} wants")
        return Pass()


def value(event: Event, place: str) -> str | None:
    """The text of a field, of the event itself or of its details."""
    owner, _, name = place.partition(".")
    if name:
        return event.details.get(name)
    found = getattr(event, owner)
    return None if found is None else str(getattr(found, "value", found))


@hookimpl
def notifyd_filters() -> list[type[Filter[Any]]]:
    """One filter."""
    return [MatchFilter]
