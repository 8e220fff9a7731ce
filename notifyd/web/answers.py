"""What endpoints answer, as JSON that is written once and not validated again: the schemas are tested instead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi.responses import Response

from notifyd.model import rfc3339
from notifyd.store.configs import StoredConfig
from notifyd.store.search import JsonPage

JSON = "application/json"

SAFE = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
"""Headers of every answer: it is what it says it is, and nobody keeps it."""


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Any value as JSON."""
    return Response(json.dumps(value), status, {**SAFE, **(headers or {})}, JSON)


def page(found: JsonPage) -> Response:
    """A page of rows that are JSON already."""
    following = "null" if found.next is None else found.next
    return Response(f'{{"items":[{",".join(found.items)}],"next":{following}}}', headers=SAFE, media_type=JSON)


def listing(items: list[Any]) -> Response:
    """All of a listing that has no pages."""
    return answer({"items": items, "next": None})


def config(stored: StoredConfig, problem: str | None) -> dict[str, Any]:
    """A config as the API shows it."""
    return {
        "id": stored.id,
        "name": stored.name,
        "notification_type": stored.notification_type,
        "enabled": stored.enabled,
        "config": stored.config,
        "filters": stored.filters,
        "group": stored.group,
        "system": stored.system,
        **stored.others,
        "provisioned": stored.provisioned,
        "created_at": rfc3339(stored.created_at),
        "updated_at": rfc3339(stored.updated_at),
        "problem": problem,
    }


def etag(stored: StoredConfig) -> str:
    """The version of a config, as HTTP has it (RFC 9110, 8.8.3)."""
    return f'"{stored.version}"'
