"""The OpenAPI document: FastAPI's own, and what only this daemon knows, such as the options of its plugins."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from notifyd import __version__
from notifyd.settings import Settings
from notifyd.settings.forms import config_forms, patch_form
from notifyd.web import schemas
from notifyd.web.deliveries import RetryBody

DESCRIPTION = """Notification configs, tests and the history of a notifyd daemon.

Send a token as `Authorization: Bearer TOKEN`; `notifyd token create --name NAME --permission manage_settings` makes
one. Every operation needs the permission `manage_settings`. What is wrong is said as RFC 9457 problem details, with one
sentence in `detail` and the fields in `errors`.

Secrets read as `"********"`; sent back, the mask keeps the secret while the target's scheme, host and port stay. What
an answer has beside what can be written (id, provisioned, created_at, updated_at, problem) may be sent back too, and is
left aside."""

_BEARER = {"type": "http", "scheme": "bearer", "description": "A token with the permission manage_settings."}


def document(app: FastAPI, settings: Settings) -> dict[str, Any]:
    """The document, as JSON."""
    found = get_openapi(title="notifyd", version=__version__, description=DESCRIPTION, routes=app.routes)
    components = found.setdefault("components", {})
    components["securitySchemes"] = {"bearer": _BEARER}
    components["schemas"] = _shared(settings) | components.get("schemas", {})
    found["security"] = [{"bearer": ["manage_settings"]}]
    return found


def _shared(settings: Settings) -> dict[str, Any]:
    """The schemas that operations refer to by name."""
    by_id = {
        "type": "object",
        "properties": {"config_id": {"type": "string"}},
        "required": ["config_id"],
        "additionalProperties": False,
    }
    return {
        **config_forms(settings.registry, settings.shared),
        "ConfigPatch": patch_form(settings.registry),
        "TestById": by_id,
        "RetryBody": TypeAdapter(RetryBody).json_schema(),
        **_with_definitions("Problem", schemas.Problem),
    }


def _with_definitions(name: str, kind: type[Any]) -> dict[str, Any]:
    schema = TypeAdapter(kind).json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    return {**schema.pop("$defs", {}), name: schema}
