"""JSON Schema of what may be said through the API: one for each channel and filter, and one for a whole config.

It differs from that of a settings file: a secret is text and nothing else, what only a settings file may say is
not there, null stands for nothing, and what [channels.TYPE] gives is not required.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from notifyd.api import Secret
from notifyd.api.options import settings_only
from notifyd.plugin_host import Registered, Registry
from notifyd.settings.bodies import SharedOptions
from notifyd.settings.durations import DURATION_SCHEMA, format_duration
from notifyd.settings.model import NotificationTable

_TEMPLATE = "#/components/schemas/{model}"
_SEEN = (
    "!-~\u00a1-\u00ac\u00ae-\u02ff\u0391-\u03a1\u03a3-\u0481\u05d0-\u05ea\u0621-\u063a"
    "\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fa5"
)
_NAME = f"^[{_SEEN}](?:[ {_SEEN}]{{0,98}}[{_SEEN}])?$"
_TIMEOUT = {
    "type": "string",
    "pattern": "^(?:[1-9][0-9]{2,4}ms|(?:[1-9][0-9]?|[1-5][0-9]{2}|600)s|[1-9]m(?:[1-5]?[0-9]s)?|10m)$",
    "examples": ["30s", "2m"],
    "default": "30s",
    "description": "The total time of one attempt, from 100ms to 10m.",
}
_ALWAYS_SAID = ("notification_type", "config")


class _Generator(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def options_form(channel: Registered[Any], given: Iterable[str] = ()) -> dict[str, Any]:
    """What a config of this channel may have as `config`. What is `given` to all of them need not be said."""
    kind = channel.cls.Options
    schema = _schema(kind)
    hidden = settings_only(kind)
    properties = {name: part for name, part in schema.get("properties", {}).items() if name not in hidden}
    properties.setdefault("type", _again(channel.name))
    required = [name for name in schema.get("required", ()) if name not in {*given, *hidden}]
    form = {**schema, "properties": properties, "required": required, "additionalProperties": False}
    if given:
        form.pop("anyOf", None)  # which says what goes together, and a part of it may be given
    return form


def _again(name: str) -> dict[str, Any]:
    """The channel's name once more, whatever the case: `"type": "Slack"`."""
    pattern = "".join(f"[{char.upper()}{char}]" if char.isalpha() else char for char in name)
    return {"type": "string", "pattern": f"^{pattern}$", "description": "The channel again, whatever the case."}


def patch_form(registry: Registry) -> dict[str, Any]:
    """What may be changed of a config: any part of it, and null to take a part away."""
    properties = _schema(NotificationTable)["properties"] | {"filters": _filters_form(registry)}
    own = {
        "config": {"type": "object", "description": "Options of its channel; GET /channels has their schemas."},
        "name": {"type": "string", "pattern": _NAME, "maxLength": 100},
        "timeout": _or_null(_TIMEOUT),
    }
    parts = {name: _or_null(part) for name, part in properties.items() if name != "notification_type"}
    return {"type": "object", "properties": parts | own, "additionalProperties": False}


def filter_form(plugin: Registered[Any]) -> dict[str, Any]:
    """What a config may have under the filter's name."""
    return {"description": plugin.doc, **_schema(plugin.cls.Options)}


def config_forms(registry: Registry, shared: SharedOptions) -> dict[str, dict[str, Any]]:
    """The schemas of whole configs, by name: ConfigBody, and one for each channel that the API may use."""
    channels = [each for each in registry.channels.values() if each.cls.api_allowed]
    forms = {f"{_camel(each.name)}Config": _config_form(registry, shared, each) for each in channels}
    refs = [{"$ref": _TEMPLATE.format(model=name)} for name in forms]
    mapping = {each.name: ref["$ref"] for each, ref in zip(channels, refs, strict=True)}
    discriminator = {"propertyName": "notification_type", "mapping": mapping}
    return {"ConfigBody": {"oneOf": refs, "discriminator": discriminator}, **forms}


def _config_form(registry: Registry, shared: SharedOptions, channel: Registered[Any]) -> dict[str, Any]:
    schema = _schema(NotificationTable)
    own: dict[str, dict[str, Any]] = {
        "name": {"type": "string", "pattern": _NAME, "maxLength": 100, "description": "Its identity; unique."},
        "timeout": _TIMEOUT,
        "notification_type": {"const": channel.name},
        "config": options_form(channel, shared.given(channel.name)),
        "filters": _filters_form(registry),
    }
    described = schema["properties"]
    parts = {name: own.get(name, part) for name, part in described.items()}
    properties = {name: part if name in _ALWAYS_SAID else _or_null(part) for name, part in parts.items()}
    required = ["notification_type", *(["config"] if own["config"]["required"] else [])]
    return {
        "type": "object",
        "title": f"A config of the channel {channel.name}",
        "description": channel.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """What may be left out may be null too."""
    about = {key: schema[key] for key in ("description", "default") if key in schema}
    return about | {"anyOf": [{key: part for key, part in schema.items() if key not in about}, {"type": "null"}]}


def _filters_form(registry: Registry) -> dict[str, Any]:
    forms = {name: _or_null(filter_form(each)) for name, each in registry.filters.items()}
    return {"type": "object", "properties": forms, "additionalProperties": False}


def _schema(kind: Any) -> dict[str, Any]:
    """The schema of a type, without references: each form stands by itself."""
    schema = TypeAdapter(kind).json_schema(schema_generator=_Generator)
    resolved: dict[str, Any] = _tidy(schema, schema.get("$defs", {}))
    resolved.pop("$defs", None)
    return resolved


def _tidy(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Each reference replaced by what it leads to, each secret by text, and no title that only repeats a name."""
    if isinstance(schema, list):
        return [_tidy(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _tidy({**definitions[schema["$ref"].rpartition("/")[2]], **_beside(schema)}, definitions)
    if _REFERENCE in (shapes := schema.get("anyOf", [])):
        shapes = [shape for shape in shapes if shape != _REFERENCE]
        text = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
        return _tidy({**_beside(schema), **text}, definitions)
    if schema.get("pattern") == DURATION_SCHEMA["pattern"]:
        return schema | {"pattern": str(schema["pattern"]).replace(r"\d+", "[0-9]{1,4}")}
    if "patternProperties" in schema:
        schema = {"additionalProperties": False, **schema}
    idle = {"title"} if isinstance(schema.get("title"), str) else set()
    return {key: _tidy(part, definitions) for key, part in schema.items() if key not in idle}


def _beside(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in schema.items() if key not in ("$ref", "anyOf")}


_REFERENCE = TypeAdapter(Secret).json_schema()["anyOf"][-1]


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.replace("-", "_").split("_"))
