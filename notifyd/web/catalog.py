"""/api/notifications/channels and /filters: what a config may say, as JSON Schema, so that a form can be drawn."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from notifyd.plugin_host import Registered
from notifyd.settings.forms import filter_form, options_form
from notifyd.web import schemas
from notifyd.web.answers import listing
from notifyd.web.described import problems
from notifyd.web.reach import Within

router = APIRouter(tags=["plugins"])


@router.get("/channels", response_model=schemas.Channels, summary="List the channels", responses=problems())
async def list_channels(reach: Within) -> Response:
    """Each channel with the options that a config made here may give it."""
    channels = reach.settings.registry.channels.values()
    return listing([_channel(each, reach.settings.shared.given(each.name)) for each in channels])


@router.get("/filters", response_model=schemas.Filters, summary="List the filters", responses=problems())
async def list_filters(reach: Within) -> Response:
    """Each filter with what it takes."""
    filters = reach.settings.registry.filters.values()
    return listing([{**_plugin(each), "options": filter_form(each)} for each in filters])


def _channel(channel: Registered[Any], given: frozenset[str]) -> dict[str, Any]:
    allowed = channel.cls.api_allowed
    return {**_plugin(channel), "api_allowed": allowed, "options": options_form(channel, given)}


def _plugin(plugin: Registered[Any]) -> dict[str, Any]:
    return {"name": plugin.name, "doc": plugin.doc, "origin": plugin.origin}
