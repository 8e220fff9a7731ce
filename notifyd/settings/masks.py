"""Secrets where people read and write configs: shown as a mask, and kept where the mask comes back.

Everything here goes by the type that a plugin gives its options: what it calls a Secret is one.
"""

from __future__ import annotations

import copy
import types
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from notifyd.api import TARGET, Options, Secret, SecretUrl
from notifyd.settings.locate import KeyPath
from notifyd.settings.secrets import REFERENCES

MASK = "********"
"""How the API shows a secret, and what a client sends back to keep it."""

_PORTS = {"http": 80, "https": 443}


def secrets_in(kind: Any, value: object) -> Iterator[tuple[KeyPath, object]]:
    """Where secrets stand in a value of this type, and each as it is written: a text, or { env = … } and the like."""
    alternatives = list(_alternatives(kind))
    if any(_is_secret(each) for each in alternatives) and (isinstance(value, str) or is_reference(value)):
        yield (), value
    for step, child in _children(value):
        for inner in dict.fromkeys(kind for each in alternatives for kind in _inside(each, step)):
            yield from (((step, *path), found) for path, found in secrets_in(inner, child))


def is_reference(value: object) -> bool:
    """Whether it says where a secret is, instead of what it is."""
    return isinstance(value, dict) and len(value) == 1 and not value.keys().isdisjoint(REFERENCES)


def masked(kind: Any, value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the options with the mask in the place of each secret."""
    shown = copy.deepcopy(dict(value))
    for path, _ in list(secrets_in(kind, shown)):
        put(shown, path, MASK)
    return shown


def kept(kind: Any, value: Mapping[str, Any]) -> list[KeyPath]:
    """Where the mask came back."""
    return [path for path, found in secrets_in(kind, value) if found == MASK]


def at(value: object, path: KeyPath) -> object:
    """What stands at a path; None where nothing does."""
    for step in path:
        value = dict(_children(value)).get(step)
    return value


def put(value: Any, path: KeyPath, new: object) -> None:
    """Write at a path that is there."""
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new


# -- targets -----------------------------------------------------------------------------------------


def target_keys(kind: type[Options]) -> frozenset[str]:
    """The options that say where the secrets are sent; where a channel marks none, any option might."""
    marked = {name for name, field in kind.model_fields.items() if _is_target((field.annotation, *field.metadata))}
    return frozenset(marked or kind.model_fields)


def target_of(options: Options) -> dict[str, object]:
    """Where the secrets of these options are sent: of a URL scheme, host and port, of other targets all."""
    found = {name: _reduced(getattr(options, name)) for name in target_keys(type(options))}
    return {name: value for name, value in found.items() if value is not None}


def _is_target(kinds: tuple[Any, ...]) -> bool:
    return any(
        kind is TARGET or (isinstance(kind, type) and issubclass(kind, SecretUrl)) or _is_target(get_args(kind))
        for kind in kinds
    )


def _reduced(value: object) -> object:
    """What of a value counts as its target. A secret that is no URL leads nowhere."""
    if isinstance(value, SecretUrl):
        return _origin(value.reveal())
    if isinstance(value, Secret):
        return None
    if isinstance(value, Mapping):
        return {key: _reduced(child) for key, child in value.items()}
    return [_reduced(child) for child in value] if isinstance(value, list | tuple) else value


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


# -- types -------------------------------------------------------------------------------------------


def _alternatives(kind: Any) -> Iterator[Any]:
    """What a value of this type may be, without the wrapping."""
    kind = getattr(kind, "__value__", kind)  # of a `type X = …`
    if get_origin(kind) is Annotated:
        yield from _alternatives(get_args(kind)[0])
    elif get_origin(kind) in (Union, types.UnionType):
        for each in get_args(kind):
            yield from _alternatives(each)
    else:
        yield kind


def _inside(kind: Any, step: str | int) -> Iterator[Any]:
    """The types of what stands one step within."""
    if fields := getattr(kind, "__pydantic_fields__", None):
        yield from (field.annotation for name, field in fields.items() if step in (name, field.alias))
    elif isinstance(origin := get_origin(kind), type) and issubclass(origin, Mapping):
        yield from get_args(kind)[1:]
    else:
        yield from (each for each in get_args(kind) if each is not Ellipsis)


def _is_secret(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Secret)


def _children(value: object) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)
