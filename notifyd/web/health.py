"""/healthz and /readyz, open to all."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter
from fastapi.responses import Response

from notifyd.observe.health import SENDER
from notifyd.web.answers import answer
from notifyd.web.reach import Within

STALLED_AFTER = timedelta(minutes=2)
"""A sender that has completed no turn for this long is stuck; idle, it turns every second."""

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz(reach: Within) -> Response:
    """Alive and progressing: 200, or 503 with the reason."""
    parts = reach.health.report(reach.clock())
    stalled = parts.get(SENDER, {}).get("seconds_ago", 0) > STALLED_AFTER.total_seconds()
    status = "the sender is stuck" if stalled else "ok"
    return answer({"status": status, "parts": parts}, 503 if stalled else 200)


@router.get("/readyz")
async def readyz(reach: Within) -> Response:
    """200 once every source was tried, successfully or not, and the sender has turned."""
    waiting = reach.health.waiting_for(reach.expected)
    return answer({"ready": not waiting, "waiting_for": waiting}, 503 if waiting else 200)
