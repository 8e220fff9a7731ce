"""/api/notifications/events: what was found, told or not."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from notifyd.model import EventType, Severity
from notifyd.store import search
from notifyd.store.search import EventSearch
from notifyd.store.trace import trace
from notifyd.web import schemas
from notifyd.web.answers import answer, page
from notifyd.web.described import problems
from notifyd.web.history import event_json
from notifyd.web.incoming import Flag, Moment, Paging, Word
from notifyd.web.problems import Problem
from notifyd.web.reach import Within

router = APIRouter(prefix="/events", tags=["events"])


class EventQuery(Paging):
    """Which events."""

    severity: Severity | None = None
    event_type: EventType | None = None
    connector_id: Word | None = None
    entity_type: Word | None = None
    error_type: Word | None = None
    tenant_id: Word | None = None
    source: Word | None = Field(None, description="Only what was found in this source, by its name.")
    untold: Flag | None = Field(None, description="Only what every config dropped, or what was told.")
    since: Moment | None = Field(None, description="Found then or later.")
    until: Moment | None = Field(None, description="Found before.")
    text: Word | None = Field(None, description="Found in the title or the message, whatever the case.")

    @property
    def search(self) -> EventSearch:
        """As the store has it."""
        fields = self.model_dump(exclude={"limit", "before", "severity", "event_type"})
        severity = self.severity.value if self.severity else None
        return EventSearch(severity=severity, event_type=self.event_type, **fields)


@router.get("", response_model=schemas.Page[schemas.Event], summary="Search the events", responses=problems())
async def list_events(reach: Within, query: Annotated[EventQuery, Query()]) -> Response:
    """What was found, newest first."""
    return page(await reach.read(search.events, query.search, query.window))


@router.get("/{event_id}", response_model=schemas.EventWithVerdicts, summary="Read one event", responses=problems(404))
async def read_event(reach: Within, event_id: str) -> Response:
    """Why was I (not) told: an event, and what was decided about it for each config."""
    found = await reach.read(trace, event_id)
    if found is None or found.what != "event":
        raise Problem(404, f"there is no event {event_id}")
    return answer(event_json(found.events[0]))
