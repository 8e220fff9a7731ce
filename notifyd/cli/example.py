"""An example of what a settings file says to use a plugin: every key that it takes, the optional ones commented out."""

from __future__ import annotations

import enum
import json
import types
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from notifyd.api import Secret
from notifyd.plugin_host import Registered

_PLAIN: Mapping[Any, str] = {str: '"…"', int: "1", float: "1.0", bool: "true"}


def example_of(kind: str, plugin: Registered[Any]) -> str:
    """TOML for one config that uses this channel or filter."""
    return "\n".join(_channel(plugin) if kind == "channel" else _filter(plugin))


def _channel(plugin: Registered[Any]) -> Iterator[str]:
    yield "[[notifications]]"
    yield f'name = "my-{plugin.name}"'
    yield f'notification_type = "{plugin.name}"'
    yield ""
    yield "[notifications.config]"
    yield from _keys(plugin.cls.Options, f"{plugin.name}_")


def _filter(plugin: Registered[Any]) -> Iterator[str]:
    kind = plugin.cls.Options
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield f"[notifications.filters.{plugin.name}]"
        yield from _keys(kind, "")
    else:
        yield "[notifications.filters]"
        yield f"{plugin.name} = {_value(kind, plugin.name)}"


def _keys(kind: type[BaseModel], prefix: str) -> Iterator[str]:
    """What is required; where nothing is, what the author has an example of; and the rest as comments."""
    fields = kind.model_fields
    shown = {name for name, field in fields.items() if field.is_required()}
    shown = shown or {name for name, field in fields.items() if field.examples}
    for name, field in sorted(fields.items(), key=lambda item: item[0] not in shown):
        line = f"{field.alias or name} = {_written(field, f'{prefix}{name}')}"
        yield line if name in shown else f"# {line}"


def _written(field: FieldInfo, name: str) -> str:
    """The author's own example, else the default, else something of the right type."""
    if field.examples:
        return _toml(field.examples[0])
    if field.is_required() or field.default_factory is not None or field.default in (None, {}, [], ()):
        return _value(field.annotation, name)
    return _toml(field.default)


def _value(kind: Any, name: str) -> str:
    """Something of this type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin is Annotated:
        return _value(arguments[0], name)
    if origin is Literal:
        return _toml(arguments[0])
    if origin in (Union, types.UnionType):
        return _value(next(each for each in arguments if each is not type(None)), name)
    if origin in (list, tuple, set, frozenset):
        return f"[{_value(arguments[0], name)}]" if arguments else "[]"
    if origin is dict or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return f'{{ "…" = {_value(arguments[1], name)} }}'
    return _of_class(kind, name)


def _of_class(kind: Any, name: str) -> str:
    if isinstance(kind, type) and issubclass(kind, Secret):
        return f'{{ env = "{name.upper().replace("-", "_")}" }}'
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _toml(next(iter(kind)))
    if isinstance(kind, type) and issubclass(kind, PurePath):
        return '"/path/to/a/file"'
    return _table(kind) if isinstance(kind, type) and issubclass(kind, BaseModel) else '"…"'


def _table(kind: type[BaseModel]) -> str:
    """What it must have, or all that it may have where that is nothing."""
    fields = kind.model_fields.items()
    shown = [(name, field) for name, field in fields if field.is_required()] or list(fields)
    inner = ", ".join(f"{field.alias or name} = {_written(field, name)}" for name, field in shown)
    return f"{{ {inner} }}" if inner else "{}"


def _toml(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return _toml(value.value)
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{json.dumps(key)} = {_toml(inner)}' for key, inner in value.items())} }}"
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)
