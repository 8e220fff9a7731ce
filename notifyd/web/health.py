"""/healthz and /readyz, open to all."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from notifyd.web.answers import answer
from notifyd.web.reach import Within

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz(reach: Within) -> Response:
    """Alive and progressing: 200, or 503 with the reason. `status` also says why the state DB cannot be used."""
    stuck = reach.health.stuck()
    trouble = reach.health.state_trouble()  # no reason for 503: a restart mends no disk
    status = "; ".join(filter(None, [*stuck, trouble])) or "ok"
    settings = "refused" if reach.health.refused else "ok"  # no more: anybody may ask
    return answer(
        {"status": status, "stuck": stuck, "settings": settings, "parts": reach.health.report()}, 503 if stuck else 200
    )


@router.get("/readyz")
async def readyz(reach: Within) -> Response:
    """200 once every source was tried, successfully or not, and the sender has turned."""
    waiting = reach.health.waiting_for(reach.expected)
    return answer({"ready": not waiting, "waiting_for": waiting}, 503 if waiting else 200)
