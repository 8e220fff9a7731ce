"""/api/notifications/deliveries: the outbox, and a new life for what is lost."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from notifyd.settings.wording import explain
from notifyd.store import reads, revival, search
from notifyd.store.search import DeliverySearch
from notifyd.store.trace import trace
from notifyd.store.waiting import waits_for
from notifyd.web import schemas
from notifyd.web.answers import answer, listing, page
from notifyd.web.auth import Asking
from notifyd.web.described import RETRY, problems
from notifyd.web.history import event_json
from notifyd.web.incoming import Paging, Word, json_body
from notifyd.web.problems import Problem, of_body
from notifyd.web.reach import Within

router = APIRouter(prefix="/deliveries", tags=["deliveries"])

State = Literal["gathering", "pending", "sending", "retrying", "sent", "dead", "expired", "cancelled"]


class DeliveryQuery(Paging):
    """Which deliveries."""

    state: State | None = None
    config_id: Word | None = None


class RetryBody(BaseModel):
    """Which deliveries to send again."""

    model_config = ConfigDict(extra="forbid", strict=True)

    state: Literal["dead", "expired", "cancelled"] = Field(description="All in this state.")
    config_id: Word | None = Field(None, description="Only those of this config.")


@router.get("", response_model=schemas.Page[reads.Delivery], summary="List deliveries", responses=problems())
async def list_deliveries(reach: Within, query: Annotated[DeliveryQuery, Query()]) -> Response:
    """Every notification and where it stands, newest first."""
    found = await reach.read(search.deliveries, DeliverySearch(query.state, query.config_id), query.window)
    return page(found)


@router.get(
    "/{delivery_id}", response_model=schemas.DeliveryInFull, summary="Read one delivery", responses=problems(404)
)
async def read_delivery(reach: Within, delivery_id: str) -> Response:
    """A delivery with the events that it tells, what was decided about them for each config, and every attempt."""
    found = await reach.read(trace, delivery_id)
    if found is None or found.delivery is None:
        raise Problem(404, f"{delivery_id}: {revival.UNKNOWN}")
    cap = reach.settings.daemon.max_notifications_per_minute
    waits = await reach.read(waits_for, found.delivery, reach.clock(), cap)
    return answer(
        {
            "delivery": reads.as_json(found.delivery),
            "waits_for": reads.as_json(waits) if waits else None,
            "events": [event_json(event) for event in found.events],
            "attempts": [reads.as_json(each) for each in found.attempts],
        }
    )


@router.post(
    "/retry",
    response_model=schemas.Retried,
    summary="Send all of a kind again",
    openapi_extra=RETRY,
    responses=problems(400, 404, 413, 415),
)
async def retry_deliveries(reach: Within, caller: Asking, request: Request) -> Response:
    """What is dead, expired or cancelled, of configs that are on, and is no test. At most 10,000 at a time."""
    wanted = _retry_body(await json_body(request))
    if wanted.config_id and await reach.read(reads.config, wanted.config_id) is None:
        raise Problem(404, f"there is no config {wanted.config_id}")
    done = await reach.write(revival.revive_all, wanted.state, wanted.config_id, caller.actor, reach.clock())
    reach.wake()
    return listing(done)


@router.post(
    "/{delivery_id}/retry", response_model=reads.Delivery, summary="Send one again", responses=problems(404, 409)
)
async def retry_delivery(reach: Within, caller: Asking, delivery_id: str) -> Response:
    """With a new plan of retries, and the id that it always had."""
    refusal = await reach.write(revival.revive, delivery_id, caller.actor, reach.clock())
    if refusal:
        raise Problem(404 if refusal is revival.UNKNOWN else 409, f"{delivery_id}: {refusal}")
    reach.wake()
    delivery = await reach.read(reads.delivery, delivery_id)
    if delivery is None:
        raise Problem(404, f"{delivery_id}: {revival.UNKNOWN}")
    return answer(reads.as_json(delivery))


def _retry_body(body: object) -> RetryBody:
    try:
        return RetryBody.model_validate(body)
    except ValidationError as error:
        faults = [of_body(each["loc"], explain(each, each["input"], RetryBody.model_fields)) for each in error.errors()]
        raise Problem(422, "; ".join(f"{f['pointer']}: {f['detail']}" for f in faults), errors=faults) from None
