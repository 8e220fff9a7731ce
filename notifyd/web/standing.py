"""/api/notifications/status, /sources, /schedules and /audit: where everything stands, and who did what."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from notifyd import __version__
from notifyd.settings import SourceSettings
from notifyd.store import audit, reads, schedules, trail
from notifyd.store.audit import Status
from notifyd.web import schemas
from notifyd.web.answers import answer, listing
from notifyd.web.described import problems
from notifyd.web.incoming import Flag, Limit, Offset, Paging, Word
from notifyd.web.incoming import Query as Parameters
from notifyd.web.reach import Reach, Within

router = APIRouter(tags=["status"])


@router.get("/status", response_model=schemas.Status, summary="Where everything stands", responses=problems())
async def status(reach: Within) -> Response:
    """The books of every source and config, and whether they balance. For a person or a monitor, not for a loop."""
    troubles = [*reach.health.stuck(), *filter(None, [reach.health.state_trouble()]), *reach.health.unopened_channels()]
    return answer(_status(await reach.read(audit.status, reach.clock()), troubles, reach))


def _status(found: Status, troubles: list[str], reach: Reach) -> dict[str, Any]:
    return {
        "version": __version__,
        "troubles": troubles,
        "sources": [_read(source, reach) for source in found.sources],
        "source_books": [asdict(book) for book in found.source_books],
        "config_books": [asdict(book) for book in found.config_books],
        "deliveries": dict(found.deliveries),
        "given_up": found.given_up,
        "streaks": [reads.as_json(streak) for streak in found.streaks],
        "lanes": [reads.as_json(lane) for lane in found.lanes],
        "untold": found.untold,
        "errors": [reads.as_json(attempt) for attempt in found.errors],
        "balanced": not found.differences,
        "differences": found.differences,
        "problems": reach.saved.problems,
    }


@router.get("/sources", response_model=schemas.Sources, summary="List the sources", responses=problems())
async def list_sources(reach: Within) -> Response:
    """Where reading each source has come to, and how it fares."""
    configured = {source.id: source for source in reach.settings.sources}
    known = await reach.read(reads.sources)
    new = configured.keys() - {state.source_id for state in known}
    read = [_source(_read(state, reach), configured.get(state.source_id)) for state in known]
    return listing([*read, *(_source(_nothing(source), source) for key, source in configured.items() if key in new)])


def _source(state: dict[str, Any], source: SourceSettings | None) -> dict[str, Any]:
    return {**state, "in_file": source is not None, "enabled": source is not None and source.enabled}


def _read(state: reads.SourceState, reach: Reach) -> dict[str, Any]:
    """With the place of its cursor in words, as `notifyd sources` has it."""
    text, gaps = reach.read_up_to(state.cursor)
    return {**_without_cursor(reads.as_json(state)), "read_up_to": text, "gaps": gaps}


def _without_cursor(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != "cursor"}


def _nothing(source: SourceSettings) -> dict[str, Any]:
    """A source that was never read."""
    nothing = _without_cursor(dict.fromkeys(reads.SourceState.__slots__))
    return {**nothing, "read_up_to": None, "gaps": None, "source_id": source.id, "name": source.name}


class ScheduleQuery(Parameters):
    """Which schedules."""

    failing: Flag | None = Field(None, description="Only those that fail now, or that do not.")
    limit: Limit = 50
    offset: Offset = 0


@router.get("/schedules", response_model=schemas.Schedules, summary="List the schedules", responses=problems())
async def list_schedules(reach: Within, query: Annotated[ScheduleQuery, Query()]) -> Response:
    """What fails in a row, and how it fares: the worst first. `next` is the next `offset`."""
    found = await reach.read(schedules.listing, failing=query.failing)
    end = query.offset + query.limit
    items = [reads.as_json(each) for each in found[query.offset : end]]
    return answer({"items": items, "next": end if end < len(found) else None})


class AuditQuery(Paging):
    """Which lines of the audit trail."""

    object_id: Word | None = Field(None, description="Only what was done to this config, delivery or token.")


@router.get("/audit", response_model=schemas.Page[schemas.AuditEntry], summary="Who did what", responses=problems())
async def list_audit(reach: Within, query: Annotated[AuditQuery, Query()]) -> Response:
    """What was done through the API, to its tokens, and by `notifyd test` and `retry`, newest first; never a secret."""
    found = await reach.read(trail.page, object_id=query.object_id, before=query.before, limit=query.limit)
    return answer({"items": [reads.as_json(entry) for entry in found.items], "next": found.next})
