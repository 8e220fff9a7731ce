"""/api/notifications/history: every attempt to send, and all that led to one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import Field

from notifyd.model import EventType, Severity, rfc3339
from notifyd.store import reads, search
from notifyd.store.database import Database
from notifyd.store.search import AttemptSearch, Window
from notifyd.store.trace import ConfigVerdict, EventTrace, trace
from notifyd.store.waiting import waits_for
from notifyd.web import schemas
from notifyd.web.answers import answer, page
from notifyd.web.described import problems
from notifyd.web.incoming import Flag, Moment, Offset, Paging, Word
from notifyd.web.problems import Problem
from notifyd.web.reach import Within

router = APIRouter(prefix="/history", tags=["history"])


class HistoryQuery(Paging):
    """Which attempts."""

    severity: Severity | None = None
    connector_id: Word | None = None
    entity_type: Word | None = None
    event_type: EventType | None = None
    config_id: Word | None = Field(None, description="Only what was sent for this config.")
    success: Flag | None = Field(None, description="Only what was sent, or what failed.")
    since: Moment | None = Field(None, description="Attempts that began then or later.")
    until: Moment | None = Field(None, description="Attempts that began before.")
    text: Word | None = Field(None, description="Found in the title or the error, whatever the case.")
    offset: Offset = 0

    @property
    def window(self) -> Window:
        """With an offset, which is slower the larger it is; `before` is not."""
        return Window(self.before, self.offset, self.limit)

    @property
    def search(self) -> AttemptSearch:
        """As the store has it."""
        return AttemptSearch(
            config_id=self.config_id,
            severity=self.severity.value if self.severity else None,
            connector_id=self.connector_id,
            entity_type=self.entity_type,
            event_type=self.event_type,
            success=self.success,
            since=self.since,
            until=self.until,
            text=self.text,
        )


@router.get("", response_model=schemas.Page[reads.Attempt], summary="Search the history", responses=problems())
async def list_history(reach: Within, query: Annotated[HistoryQuery, Query()]) -> Response:
    """Every attempt to send, tests included, newest first. `next` leads through all, whatever happens meanwhile."""
    return page(await reach.read(search.attempts, query.search, query.window))


AttemptId = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.get("/{attempt_id}", response_model=schemas.AttemptInFull, summary="Read one attempt", responses=problems(404))
async def read_attempt(reach: Within, attempt_id: AttemptId) -> Response:
    """An attempt with the events that it told, what was decided about them for each config, and every other attempt."""
    cap = reach.settings.daemon.max_notifications_per_minute
    found = await reach.read(_in_full, attempt_id, reach.clock(), cap)
    if found is None:
        raise Problem(404, f"there is no attempt {attempt_id}")
    return answer(found)


def _in_full(db: Database, attempt_id: int, now: datetime, cap: int | None) -> dict[str, Any] | None:
    attempt = search.attempt(db, attempt_id)
    if attempt is None:
        return None
    members = trace(db, attempt.delivery_id)
    first = trace(db, attempt.event_id)
    delivery = members.delivery if members else None
    waits = waits_for(db, delivery, now, cap) if delivery else None
    return {
        "attempt": reads.as_json(attempt),
        "delivery": reads.as_json(delivery) if delivery else None,
        "waits_for": reads.as_json(waits) if waits else None,
        "event": event_json(first.events[0]) if first and first.events else None,
        "events": [event_json(event) for event in members.events] if members else [],
        "attempts": [reads.as_json(each) for each in members.attempts] if members else [],
    }


def event_json(found: EventTrace) -> dict[str, Any]:
    """An event with the verdict of each config."""
    return {
        **found.event.as_json(),
        "found_at": rfc3339(found.found_at),
        "untold": found.untold,
        "verdicts": [_verdict_json(verdict) for verdict in found.verdicts],
    }


def _verdict_json(verdict: ConfigVerdict) -> dict[str, Any]:
    return {
        "config_id": verdict.config_id,
        "config_name": verdict.config_name,
        "decided": verdict.decided,
        "reason": verdict.reason,
        "until": rfc3339(verdict.until) if verdict.until else None,
        "delivery_id": verdict.delivery.id if verdict.delivery else None,
    }
