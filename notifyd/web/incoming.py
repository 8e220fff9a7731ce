"""What requests bring: JSON bodies, paging, and the types of query parameters. Nothing is guessed or ignored."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import from_json

from notifyd.store.search import Window
from notifyd.web.problems import Problem, of_parameter

LARGEST_LIMIT = 200
FARTHEST_OFFSET = 1_000_000
DEEPEST = 32
"""Levels of a body; a config has five."""

_LARGEST_ID = 2**63 - 1
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)",
)


async def json_body(request: Request) -> Any:
    """The body of a request as JSON (RFC 8259): UTF-8, no NaN, not too deep, no name twice."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Problem(415, "the body must be JSON, with Content-Type: application/json")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Problem(415, "the body may not be compressed: send it without Content-Encoding")
    raw = await request.body()
    if not raw:
        raise Problem(400, "there is no body; expected JSON")
    try:
        body = from_json(raw, allow_inf_nan=False, cache_strings=False)
        json.loads(raw, object_pairs_hook=_named_once, parse_int=str)
    except ValueError as error:
        raise Problem(400, f"the body is not JSON: {error}") from None
    return _plain(body, DEEPEST)


def _named_once(pairs: list[tuple[str, Any]]) -> None:
    """Refuse a name that is given twice: which one would count?"""
    if twice := next((name for name, count in Counter(name for name, _ in pairs).items() if count > 1), None):
        raise Problem(400, f"the body names {twice!a:.80} twice in one object")


def _plain(value: Any, levels: int) -> Any:
    """The value, where a whole number is one however it is written: in JSON, 587.0 is 587."""
    if levels == 0:
        raise Problem(400, f"the body is nested deeper than {DEEPEST} levels")
    if isinstance(value, dict):
        return {key: _plain(child, levels - 1) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child, levels - 1) for child in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


async def given_once(request: Request) -> None:
    """A dependency that refuses a parameter that is given twice: which one would count?"""
    counts = Counter(name for name, _ in request.query_params.multi_items())
    if twice := [of_parameter(name, "is given more than once") for name, count in counts.items() if count > 1]:
        raise Problem(422, f"{twice[0]['parameter']}: {twice[0]['detail']}", errors=twice)


# -- types of parameters -----------------------------------------------------------------------------


def _digits(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,20}", value):
        raise ValueError("expected a whole number")
    return value


def _flag(value: Any) -> Any:
    if value not in ("true", "false", None):
        raise ValueError("expected true or false")
    return value


def _moment(value: Any) -> datetime:
    """A time as RFC 3339 writes it. A leap second is the last of its minute; digits beyond microseconds are cut."""
    if isinstance(value, datetime):
        return value
    day, clock, fraction, zone = match.groups() if (match := _RFC3339.fullmatch(str(value))) else ("", "", "", "")
    clock = re.sub(":60$", ":59", clock)
    try:
        return datetime.fromisoformat(f"{day}T{clock}{(fraction or '.0')[:7]}{zone.upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("expected a time such as 2026-11-24T21:00:00Z") from None


Moment = Annotated[datetime, PlainValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Flag = Annotated[bool, BeforeValidator(_flag)]
RowId = Annotated[int, Field(ge=1, le=_LARGEST_ID), BeforeValidator(_digits)]
Limit = Annotated[int, Field(ge=1, le=LARGEST_LIMIT, description="At most so many items."), BeforeValidator(_digits)]
Offset = Annotated[int, Field(ge=0, le=FARTHEST_OFFSET, description="After so many."), BeforeValidator(_digits)]
Word = Annotated[str, Field(min_length=1, max_length=200)]


class Query(BaseModel):
    """Query parameters; one that is unknown is refused, as it would be ignored otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Paging(Query):
    """Which part of a listing."""

    limit: Limit = 50
    before: RowId | None = Field(None, description="The `next` of the page before.")

    @property
    def window(self) -> Window:
        """As the store has it."""
        return Window(self.before, 0, self.limit)
