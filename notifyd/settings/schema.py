"""The JSON Schema of a settings file, so that editors know its keys. As a program it prints it:

    python -m notifyd.settings.schema > config/notifyd.schema.json

Plugins that are not ours may add channels and filters, so the schema is open where those stand.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Any

from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from notifyd.api import Secret
from notifyd.plugin_host import Registered, discover
from notifyd.settings.columns import ColumnRef
from notifyd.settings.durations import format_duration
from notifyd.settings.model import (
    DaemonSettings,
    HeartbeatSettings,
    HttpSettings,
    NotificationTable,
    RulesSettings,
    SecuritySettings,
    SourceSettings,
)
from notifyd.settings.presets import preset_names
from notifyd.settings.values import Table

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OURS = "notifyd_plugins."
_SHAPES = {"Column": ColumnRef, "Secret": Secret}  # what many keys share


class SettingsFile(Table):
    """A settings file of notifyd. The guide is config/README.md."""

    daemon: DaemonSettings
    http: HttpSettings
    sources: list[SourceSettings] = Field(description="The sync logs that are read.")
    rules: RulesSettings
    channels: dict[str, dict[str, Any]] = Field(description="Options shared by every config of a channel's type.")
    notifications: list[NotificationTable] = Field(description="Who is told of what, and how.")
    security: SecuritySettings
    heartbeat: HeartbeatSettings


class _Generator(GenerateJsonSchema):
    """TOML has no null, so what may be None is simply left out."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """The schema of the whole file, with the options of the channels and filters that come with notifyd."""
    registry = discover(None)
    channels, filters = _ours(registry.channels.values()), _ours(registry.filters.values())
    kinds: dict[tuple[str, str], Any] = {("file", ""): SettingsFile}
    kinds |= {("channel", plugin.name): plugin.cls.Options for plugin in channels}
    kinds |= {("filter", plugin.name): plugin.cls.Options for plugin in filters}
    schemas, shared = TypeAdapter.json_schemas(
        [(key, "validation", TypeAdapter(kind)) for key, kind in kinds.items()], schema_generator=_Generator
    )
    definitions = shared["$defs"]
    _open(definitions)
    for plugin in channels:
        _add_channel(definitions, plugin, schemas[("channel", plugin.name), "validation"])
    for plugin in filters:
        described = {"description": plugin.doc, **schemas[("filter", plugin.name), "validation"]}
        definitions["NotificationTable"]["properties"]["filters"]["properties"][plugin.name] = described
    file = definitions.pop("SettingsFile")
    shapes = {name: _shape(kind) for name, kind in _SHAPES.items()}
    return {
        "$schema": _DIALECT,
        **_tidy(file, shapes),
        "$defs": dict(sorted((_tidy(definitions, shapes) | shapes).items())),
    }


def _shape(kind: Any) -> Any:
    return _tidy(TypeAdapter(kind).json_schema(schema_generator=_Generator), {})


def _ours(plugins: Any) -> list[Registered[Any]]:
    return [plugin for plugin in plugins if plugin.cls.__module__.startswith(_OURS)]


def _open(definitions: dict[str, Any]) -> None:
    """Say what depends on another key: nothing is required in the file, and a preset gives a source's columns."""
    definitions["SettingsFile"].pop("required")
    source = definitions["SourceSettings"]
    source["required"] = ["name", "url"]
    own = ["columns", "statuses"]
    source["anyOf"] = [{"required": ["preset"]}, {"required": ["table", *own]}, {"required": ["query", *own]}]
    source["properties"]["preset"]["examples"] = preset_names()
    definitions["Columns"].pop("required")
    definitions["NotificationTable"]["properties"]["filters"]["properties"] = {}
    definitions["NotificationTable"]["allOf"] = []


def _add_channel(definitions: dict[str, Any], plugin: Registered[Any], schema: dict[str, Any]) -> None:
    """The channel's options, under [channels.TYPE] and in each config of its type; either may hold a required one."""
    options = definitions[schema["$ref"].rpartition("/")[2]]
    for key in ("required", "anyOf"):
        options.pop(key, None)
    definitions["SettingsFile"]["properties"]["channels"].setdefault("properties", {})[plugin.name] = schema
    of_this_type = {"properties": {"notification_type": {"const": plugin.name}}, "required": ["notification_type"]}
    definitions["NotificationTable"]["allOf"].append({"if": of_this_type, "then": {"properties": {"config": schema}}})


def _tidy(schema: Any, shapes: dict[str, Any]) -> Any:
    """Without titles that only repeat a name or defaults that only say "nothing", and with each shape said once."""
    if isinstance(schema, list):
        return [_tidy(part, shapes) for part in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(value, shapes) for key, value in schema.items() if not _is_idle(key, value)}
    for name, shape in shapes.items():
        if tidy.get("anyOf") == shape["anyOf"]:
            del tidy["anyOf"]
            tidy["$ref"] = f"#/$defs/{name}"
    return tidy


def _is_idle(key: str, value: object) -> bool:
    return (key == "title" and isinstance(value, str)) or (key == "default" and value in (None, ""))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
