"""The web application: `/healthz` and `/readyz`, open to all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from notifyd import __version__
from notifyd.clock import Clock
from notifyd.observe.health import SENDER, Health

STALLED_AFTER = timedelta(minutes=2)
"""A sender that has completed no turn for this long is stuck; idle, it turns every second."""


def create_app(health: Health, expected: Sequence[str], clock: Clock) -> FastAPI:
    """The application. `expected` are the parts that must have turned once before it is ready."""
    app = FastAPI(title="notifyd", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        """Alive and progressing: 200, or 503 with the reason."""
        parts = health.report(clock())
        stalled = parts.get(SENDER, {}).get("seconds_ago", 0) > STALLED_AFTER.total_seconds()
        status = "the sender is stuck" if stalled else "ok"
        return JSONResponse({"status": status, "parts": parts}, 503 if stalled else 200)

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """200 once every source was tried, successfully or not, and the sender has turned."""
        waiting = health.waiting_for(expected)
        return JSONResponse({"ready": not waiting, "waiting_for": waiting}, 503 if waiting else 200)

    return app
