"""/api/notifications/configs: the notification configs, those of the settings file among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from pydantic import Field

from notifyd.saved import Agrees, Edit, Missing
from notifyd.settings.model import NotificationTable
from notifyd.settings.wording import did_you_mean
from notifyd.store import configs
from notifyd.store.configs import StoredConfig
from notifyd.web import schemas
from notifyd.web.answers import answer, config, etag, listing
from notifyd.web.auth import Asking
from notifyd.web.described import BODY, LINKS, PATCH, problems, shown
from notifyd.web.incoming import Flag, json_body
from notifyd.web.incoming import Query as Parameters
from notifyd.web.problems import Problem, of_body
from notifyd.web.reach import Reach, Within

READ_ONLY = frozenset({"id", "provisioned", "created_at", "updated_at", "problem"})
"""What an answer says beside what can be written; sent back, it is left aside."""

router = APIRouter(prefix="/configs", tags=["configs"])

IfMatch = Annotated[str | None, Header(description="The ETag of what you read: refused with 412 if it has changed.")]


class ConfigQuery(Parameters):
    """Which configs."""

    notification_type: str | None = Field(None, min_length=1, max_length=64, description="Only this channel.")
    enabled: Flag | None = Field(None, description="Only those that are on, or off.")


@router.get("", response_model=schemas.Configs, summary="List configs", responses=problems())
async def list_configs(reach: Within, query: Annotated[ConfigQuery, Query()]) -> Response:
    """Every config, newest first; those of the settings file too, which are read-only here."""
    found = await reach.read(configs.listing, notification_type=query.notification_type, enabled=query.enabled)
    return listing([_shown(reach, stored) for stored in found])


@router.post(
    "",
    status_code=201,
    response_model=schemas.Config,
    summary="Make a config",
    openapi_extra=BODY,
    responses={
        201: {"description": "It is live.", **shown("ETag", "Location"), **LINKS},
        **problems(400, 409, 413, 415),
    },
)
async def create_config(reach: Within, caller: Asking, request: Request) -> Response:
    """It takes effect at once. A missing name is derived from the channel's."""
    stored = await reach.saved.create(writable(await json_body(request)), caller.actor)
    return _one(reach, stored, 201, {"Location": f"/api/notifications/configs/{stored.id}"})


@router.get(
    "/{config_id}",
    response_model=schemas.Config,
    summary="Read a config",
    responses={200: {"description": "The config.", **shown("ETag")}, **problems(404)},
)
async def read_config(reach: Within, config_id: str) -> Response:
    """One config, with masks for its secrets."""
    return _one(reach, await known(reach, config_id))


@router.put(
    "/{config_id}",
    response_model=schemas.Config,
    summary="Replace a config",
    openapi_extra=BODY,
    responses={200: {"description": "What it is now.", **shown("ETag")}, **problems(400, 404, 409, 412, 413, 415)},
)
async def replace_config(
    reach: Within, caller: Asking, config_id: str, request: Request, if_match: IfMatch = None
) -> Response:
    """All of it: what the body leaves out gets its default, but for the name. A mask keeps its secret."""
    body = writable(await json_body(request))
    return await _edit(reach, caller, config_id, if_match, lambda before: _named(body, before))


@router.patch(
    "/{config_id}",
    response_model=schemas.Config,
    summary="Change a config",
    openapi_extra=PATCH,
    responses={200: {"description": "What it is now.", **shown("ETag")}, **problems(400, 404, 409, 412, 413, 415)},
)
async def change_config(
    reach: Within, caller: Asking, config_id: str, request: Request, if_match: IfMatch = None
) -> Response:
    """Only what the body says, as a JSON merge patch (RFC 7396): null takes an option away."""
    patch = writable(await json_body(request))
    _check_patch(patch)
    return await _edit(reach, caller, config_id, if_match, lambda before: merged(before, patch))


@router.delete(
    "/{config_id}",
    status_code=204,
    response_class=Response,
    summary="Delete a config",
    responses={204: {"description": "It is gone, and its history stays."}, **problems(404, 409, 412)},
)
async def delete_config(reach: Within, caller: Asking, config_id: str, if_match: IfMatch = None) -> Response:
    """What waits for it is cancelled, and says so."""
    await reach.saved.delete(config_id, caller.actor, _agrees(if_match))
    return Response(status_code=204)


# -- one config --------------------------------------------------------------------------------------


async def known(reach: Reach, config_id: str) -> StoredConfig:
    """The config with this id."""
    stored = await reach.read(configs.get, config_id)
    if stored is None:
        raise Missing(f"there is no config {config_id}")
    return stored


def writable(body: Any) -> Any:
    """A body without what only answers have."""
    if not isinstance(body, dict):
        return body
    return {key: value for key, value in body.items() if key not in READ_ONLY}


def merged(before: Any, patch: Any) -> Any:
    """A JSON merge patch, applied (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    after = dict(before) if isinstance(before, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            after.pop(key, None)
        else:
            after[key] = merged(after.get(key), value)
    return after


def _check_patch(patch: Any) -> None:
    """A part that there is not would be taken away without a word."""
    if not isinstance(patch, dict):
        raise Problem(422, "the body: expected an object")
    known = NotificationTable.model_fields
    unknown = [of_body([key], f"unknown key{did_you_mean(key, known)}") for key in patch if key not in known]
    if unknown:
        raise Problem(422, "; ".join(f"{each['pointer']}: {each['detail']}" for each in unknown), errors=unknown)


def _named(body: Any, before: Mapping[str, Any]) -> Any:
    """A name is an identity: it stays, unless there is a new one."""
    if isinstance(body, dict) and body.get("name") is None:
        return {**body, "name": before["name"]}
    return body


async def _edit(reach: Reach, caller: Asking, config_id: str, if_match: str | None, edit: Edit) -> Response:
    return _one(reach, await reach.saved.replace(config_id, edit, caller.actor, _agrees(if_match)))


def _agrees(if_match: str | None) -> Agrees:
    """What If-Match asks for (RFC 9110, 13.1.1)."""
    if if_match is None or if_match.strip() == "*":
        return lambda _: True
    wanted = {tag.strip() for tag in if_match.split(",")}
    return lambda stored: etag(stored) in wanted


def _one(reach: Reach, stored: StoredConfig, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return answer(_shown(reach, stored), status, {"ETag": etag(stored), **(headers or {})})


def _shown(reach: Reach, stored: StoredConfig) -> dict[str, Any]:
    return config(stored, reach.saved.problems.get(stored.id))
