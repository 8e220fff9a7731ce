"""`notifyd plugins`: which channels and filters there are, where they come from, and what options they take."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from notifyd.api import Secret
from notifyd.cli.example import example_of
from notifyd.cli.options import DEFAULT_CONFIG, WrongUse
from notifyd.cli.output import complain, heading, print_json, print_page, print_table, say
from notifyd.plugin_host import PluginProblem, Registered, Registry, discover
from notifyd.settings.document import read_document
from notifyd.settings.wording import did_you_mean


def plugins(path: Path, name: str | None, *, as_json: bool) -> None:
    """List them all, or show one. What is wrong with a settings file hides no plugin, as this helps to mend it."""
    registry = discover(_plugins_dir(path))
    if name is not None:
        _show_one(registry, name, as_json=as_json)
    elif as_json:
        problems = [problem._asdict() for problem in registry.problems]
        print_json({"items": [_json(*entry) for entry in _all(registry)], "next": None, "problems": problems})
    else:
        rows = [(kind, plugin.name, plugin.doc, plugin.origin) for kind, plugin in _all(registry)]
        print_table(("kind", "name", "what it does", "from"), rows, empty="no plugins")
        _show_problems(registry.problems)


def _plugins_dir(path: Path) -> Path | None:
    """Where drop-in plugins are, whatever else the settings say; None where the default file is not there."""
    if path == DEFAULT_CONFIG and not path.exists():
        complain(f"there is no {path}: only what is installed is listed")
        return None
    folder = read_document(path).value(("daemon", "plugins_dir"))
    return path.absolute().parent / folder if isinstance(folder, str) and folder else None


def _all(registry: Registry) -> Iterator[tuple[str, Registered[Any]]]:
    for kind, found in (("channel", registry.channels), ("filter", registry.filters)):
        for plugin in found.values():
            yield kind, plugin


def _show_problems(problems: tuple[PluginProblem, ...]) -> None:
    if problems:
        heading("Plugins that cannot be used")
    for problem in problems:
        say(f"  {problem}")


def _show_one(registry: Registry, name: str, *, as_json: bool) -> None:
    found = [(kind, plugin) for kind, plugin in _all(registry) if plugin.name == name]
    if not found:
        raise WrongUse(_unknown(registry, name))
    if as_json:
        print_page(_described(kind, plugin) for kind, plugin in found)
        return
    for kind, plugin in found:
        heading(f"{plugin.name} ({kind}): {plugin.doc}")
        say(f"from {plugin.origin}")
        print_table(
            ("option", "type", "default", "required", "secret", "what it is"), options_of(plugin), empty="no options"
        )
        heading("In the settings file")
        for line in example_of(kind, plugin).splitlines():
            say(line)


def _described(kind: str, plugin: Registered[Any]) -> dict[str, Any]:
    options = [option._asdict() for option in options_of(plugin)]
    return {**_json(kind, plugin), "options": options, "example": example_of(kind, plugin)}


def _unknown(registry: Registry, name: str) -> str:
    for problem in filter(None, (registry.broken("channel", name), registry.broken("filter", name))):
        return f"{name} cannot be used: {problem}"
    names = [plugin.name for _, plugin in _all(registry)]
    return f'no plugin is called "{name}"{did_you_mean(name, names)}'


def _json(kind: str, plugin: Registered[Any]) -> dict[str, Any]:
    return {"kind": kind, "name": plugin.name, "doc": plugin.doc, "origin": plugin.origin}


# -- options -----------------------------------------------------------------------------------------


class Option(NamedTuple):
    """One key that a plugin takes. A filter that takes a plain value has one option, without a name."""

    name: str
    type: str
    default: str | None
    required: bool
    secret: bool
    description: str | None


def options_of(plugin: Registered[Any]) -> list[Option]:
    """The keys of a plugin's Options."""
    kind = plugin.cls.Options
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [_option(name, field) for name, field in kind.model_fields.items()]
    return [Option("(the value)", type_text(kind), None, required=True, secret=holds_secret(kind), description=None)]


def _option(name: str, field: FieldInfo) -> Option:
    return Option(
        field.alias or name,
        type_text(field.annotation),
        _default(field),
        field.is_required(),
        holds_secret(field.annotation),
        field.description,
    )


def _default(field: FieldInfo) -> str | None:
    """What stands where the key is left out; None where that is nothing, or depends on the other keys."""
    if field.is_required() or field.default_factory is not None or field.default in (None, {}, [], ()):
        return None
    value = getattr(field.default, "value", field.default)  # of an enum
    return str(value).lower() if isinstance(value, bool) else str(value)


_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "nothing",
    Any: "anything",
}


def type_text(kind: Any) -> str:
    """A type, in the words of a settings file."""
    if kind in _WORDS:
        return _WORDS[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return type_text(arguments[0])
    if origin is Literal:
        return _any_of([str(argument) for argument in arguments])
    if origin in (Union, types.UnionType):
        return _any_of([type_text(argument) for argument in arguments if argument is not type(None)])
    if origin in (list, tuple, set, frozenset):
        return f"list of {type_text(arguments[0])}" if arguments else "list"
    if origin is dict or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return f"table of {type_text(arguments[1])}"
    return _class_text(kind)


def _class_text(kind: Any) -> str:
    if not isinstance(kind, type):
        return str(kind)
    if issubclass(kind, Secret):
        return "secret text" if kind is Secret else "secret URL"
    if issubclass(kind, BaseModel):
        return "table"
    members = getattr(kind, "__members__", None)
    return _any_of([str(member.value) for member in members.values()]) if members else kind.__name__


def _any_of(words: list[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def holds_secret(kind: Any) -> bool:
    """Whether a secret may stand anywhere inside."""
    if isinstance(kind, type) and issubclass(kind, Secret):
        return True
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return any(holds_secret(field.annotation) for field in kind.model_fields.values())
    return any(holds_secret(argument) for argument in get_args(kind))
