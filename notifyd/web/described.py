"""What OpenAPI says of an operation beside its parameters: bodies with examples that work, problems, headers, links."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from notifyd.web.problems import MEDIA_TYPE

ALWAYS = (401, 403, 422, 429, 503)
"""The problems that any operation may end in."""

EXAMPLES: dict[str, Any] = {
    "slack": {
        "summary": "Slack, as EasySale configures it",
        "value": {
            "notification_type": "slack",
            "enabled": True,
            "config": {
                "type": "Slack",
                "webhook_url": "https://hooks.slack.com/services/T000/B000/XXXX",
                "channel": "#sync-alerts",
                "username": "EasySale Sync Monitor",
            },
            "filters": {
                "min_severity": "warning",
                "connectors": ["quickbooks", "woocommerce"],
                "entity_types": None,
                "error_types": None,
            },
        },
    },
    "webhook": {
        "summary": "A webhook with a token",
        "value": {
            "name": "ticketing",
            "notification_type": "webhook",
            "config": {"url": "https://tickets.example.com/hooks/sync", "auth_token": "s3cret"},
            "group": {"window": "15m", "by": ["connector_id"]},
        },
    },
    "email": {
        "summary": "E-mail",
        "value": {
            "name": "accounting",
            "notification_type": "email",
            "config": {
                "smtp_host": "mail.example.com",
                "from_address": "notifyd@example.com",
                "to_addresses": ["accounting@example.com"],
            },
            "filters": {"connectors": ["quickbooks"], "min_severity": "error"},
        },
    },
}


def _body(schema: dict[str, Any], examples: dict[str, Any], media: str = "application/json") -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media: {"schema": schema, "examples": examples}}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


BODY = _body(_ref("ConfigBody"), EXAMPLES)
PATCH = _body(
    _ref("ConfigPatch"),
    {
        "off": {"summary": "Switch it off", "value": {"enabled": False}},
        "severity": {"summary": "Only what is serious", "value": {"filters": {"min_severity": "error"}}},
    },
)
TEST = _body(
    {"oneOf": [_ref("TestById"), _ref("ConfigBody")]},
    {
        "saved": {"summary": "A config that is saved", "value": {"config_id": "cfg_2f7a6c1d9b0e4f5a8c3d7e61"}},
        "unsaved": {"summary": "One that is not", "value": EXAMPLES["webhook"]["value"]},
    },
)
RETRY = _body(
    _ref("RetryBody"),
    {"dead": {"summary": "All that is dead of one config", "value": {"state": "dead"}}},
)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of these problems, and of those that any operation may end in."""
    return {status: _problem(status) for status in sorted({*ALWAYS, *statuses})}


def _problem(status: int) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": _ref("Problem")}},
    }
    if status == 401:
        described |= shown("WWW-Authenticate")
    if status in (429, 503):
        described |= shown("Retry-After")
    return described


_HEADERS = {
    "ETag": "The version: send it as If-Match to change only this one.",
    "Location": "Where the config is.",
    "Retry-After": "Seconds.",
    "WWW-Authenticate": "How to ask.",
}


def shown(*names: str) -> dict[str, Any]:
    """The `headers` of a response."""
    return {"headers": {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}}


def _link(operation: str) -> dict[str, Any]:
    return {"operationId": operation, "parameters": {"config_id": "$response.body#/id"}}


LINKS = {
    "links": {
        name: _link(name) for name in ("read_config", "replace_config", "change_config", "delete_config", "test_config")
    }
}
