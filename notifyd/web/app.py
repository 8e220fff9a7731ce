"""The web application, as a table of contents.

Limits          how much, how long, who first       limits.py
Authentication  who asks                            auth.py
Head            a HEAD is a GET                     head.py
the routes      below, each family in its module
problems        whatever goes wrong                 problems.py
"""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import APIRouter, Depends, FastAPI

from notifyd import __version__
from notifyd.store.tokens import Permission
from notifyd.web import catalog, configs, deliveries, docs, events, health, history, link, metrics, standing, trials
from notifyd.web.auth import Authentication, permitted
from notifyd.web.head import Head
from notifyd.web.incoming import given_once
from notifyd.web.limits import Limits
from notifyd.web.openapi import document
from notifyd.web.problems import tell_problems
from notifyd.web.reach import Reach

PREFIX = "/api/notifications"


def create_app(reach: Reach) -> FastAPI:
    """The application, on what it may reach of the daemon."""
    app = FastAPI(
        title="notifyd",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.reach = reach
    app.include_router(health.router)
    app.include_router(docs.router)
    app.include_router(link.router)
    for router in metrics.routers(reach.settings.http.metrics):
        app.include_router(router)
    app.include_router(_api())
    app.add_middleware(Head)
    app.add_middleware(Authentication, reach=reach)
    app.add_middleware(Limits)
    tell_problems(app)
    app.openapi = cache(lambda: document(app, reach.settings))  # type: ignore[method-assign]
    return app


def _api() -> APIRouter:
    """What needs a permission, which is everything."""
    checks: list[Any] = [Depends(permitted(Permission.MANAGE_SETTINGS)), Depends(given_once)]
    api = APIRouter(prefix=PREFIX, dependencies=checks)
    for family in (configs, trials, history, deliveries, events, catalog, standing):
        api.include_router(family.router)
    return api
