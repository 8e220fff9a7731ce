"""Tests: a real message through a real channel, of a config that is saved, or not yet."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from notifyd.roster import identity_of
from notifyd.settings import BodyError, NotificationSettings
from notifyd.store import configs, reads, trail
from notifyd.store.configs import StoredConfig
from notifyd.store.database import Database
from notifyd.store.trail import Actor, Deed
from notifyd.store.trials import unsaved_id
from notifyd.web import schemas
from notifyd.web.answers import answer
from notifyd.web.auth import Asking
from notifyd.web.configs import known, writable
from notifyd.web.described import TEST, problems
from notifyd.web.incoming import json_body
from notifyd.web.problems import Problem, of_body
from notifyd.web.reach import Reach, Within

router = APIRouter(tags=["test"])

_SENT: dict[int | str, dict[str, Any]] = {200: {"description": "It was sent."}}


@router.post(
    "/configs/{config_id}/test",
    response_model=schemas.Tested,
    summary="Test a config",
    responses={**_SENT, **problems(404, 409, 502)},
)
async def test_config(reach: Within, caller: Asking, config_id: str) -> Response:
    """Sends a test, also where the config is off, and answers with what came of it. The history has it too."""
    return await _test_saved(reach, caller, config_id)


@router.post(
    "/test",
    response_model=schemas.Tested,
    summary="Test a config, saved or not",
    openapi_extra=TEST,
    responses={**_SENT, **problems(400, 404, 409, 413, 415, 502)},
)
async def test(reach: Within, caller: Asking, request: Request) -> Response:
    """`{"config_id": …}` tests a config that is saved; a whole config is tried as it is, and saved nowhere.

    With an `id` beside it, masks stand for the secrets of that config.
    """
    body = await json_body(request)
    if not isinstance(body, dict) or "config_id" not in body:
        return await _test_unsaved(reach, caller, body)
    if body.keys() != {"config_id"} or not isinstance(body["config_id"], str):
        text = "expected the id of a config, and nothing beside it"
        raise Problem(422, f"config_id: {text}", errors=[of_body(["config_id"], text)])
    return await _test_saved(reach, caller, body["config_id"])


async def _test_saved(reach: Reach, caller: Asking, identity: str) -> Response:
    stored = await known(reach, identity)
    notification = await asyncio.to_thread(_settings_of, reach, stored)
    return await _send(reach, caller.actor, notification, stored.id)


def _settings_of(reach: Reach, stored: StoredConfig) -> NotificationSettings:
    if stored.provisioned:
        return next(each for each in reach.settings.notifications if identity_of(each) == stored.id)
    try:
        return reach.saved.bodies.settings_of(stored)
    except BodyError as error:
        raise Problem(409, f"{stored.name} cannot be used: {error}") from None


async def _test_unsaved(reach: Reach, caller: Asking, body: Any) -> Response:
    identity = body.get("id") if isinstance(body, dict) else None
    stored = await reach.read(configs.get, identity) if isinstance(identity, str) else None
    old = reach.saved.bodies.body(stored) if stored and not stored.provisioned else None
    notification, _ = await asyncio.to_thread(reach.saved.bodies.reader.read, writable(body), "-", old)
    return await _send(reach, caller.actor, replace(notification, id=unsaved_id(notification.name)), None)


async def _send(reach: Reach, actor: Actor, notification: NotificationSettings, identity: str | None) -> Response:
    delivery = await reach.saved.test(notification)
    await reach.write(_note, actor, Deed("config.tested", identity, notification.name), reach.clock())
    attempts = await reach.read(reads.attempts_of, delivery)
    if not attempts:
        raise Problem(
            502, f"no attempt was made in time, as {notification.name} has other things to send: it was cancelled"
        )
    attempt = reads.as_json(attempts[-1])
    if attempts[-1].success:
        return answer({"success": True, "delivery_id": delivery, "attempt": attempt})
    raise Problem(502, attempts[-1].error or "the attempt has not ended yet; the history will have it", attempt=attempt)


def _note(db: Database, actor: Actor, deed: Deed, now: datetime) -> None:
    with db.transaction():
        trail.note(db, actor, deed, now)
