"""Looks into types that pydantic validates: which keys they take, and which of their values are secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic.fields import FieldInfo

from notifyd.api import Secret
from notifyd.settings.locate import KeyPath
from notifyd.settings.secrets import REFERENCES
from notifyd.settings.values import Written

Location = tuple[str | int, ...]
"""Where pydantic says that an error is. It also names the members of unions and the like."""


def keys_at(kind: Any, loc: Location) -> list[str]:
    """The keys that the models of a type take at a pydantic location."""
    kinds = [kind]
    for step in loc:
        kinds = _members(kinds, step)
    return [field.alias or name for kind in kinds for part in _parts(kind) for name, field in _fields(part).items()]


def _members(kinds: list[Any], step: str | int) -> list[Any]:
    """The types of a key. Indexes, keys of plain tables and union members do not lead into another model."""
    fields = [
        field
        for kind in kinds
        for part in _parts(kind)
        for name, field in _fields(part).items()
        if step in (name, field.alias)
    ]
    return [kind for field in fields for kind in (field.annotation, *field.metadata)] or kinds


def _parts(kind: Any) -> Iterator[Any]:
    """Every type that a type is written with: list[A | B] has A and B."""
    yield kind
    for part in kind.shapes if isinstance(kind, Written) else get_args(kind):
        yield from _parts(part)


def _fields(kind: Any) -> Mapping[str, FieldInfo]:
    return getattr(kind, "__pydantic_fields__", {}) if isinstance(kind, type) else {}


def _is_secret(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Secret)


def follow(value: Any, loc: Location) -> tuple[KeyPath, object]:
    """The steps of a location that the value really has, and what stands there."""
    path: KeyPath = ()
    for step in loc:
        children = dict(_children(value))
        if step in children:
            path, value = (*path, step), children[step]
    return path, value


def secrets_within(kind: Any, value: object) -> Iterator[str]:
    """The texts of a value that its type calls secret."""
    return _secrets([kind], value)


def _secrets(kinds: list[Any], value: object) -> Iterator[str]:
    if isinstance(value, str) and any(_is_secret(part) for kind in kinds for part in _parts(kind)):
        yield value
    for step, child in () if _is_reference(value) else _children(value):
        yield from _secrets(_members(kinds, step), child)


def _is_reference(value: object) -> bool:
    """Whether it is { env = "…" } or the like: a secret's name, which people must see."""
    return isinstance(value, dict) and len(value) == 1 and not value.keys().isdisjoint(REFERENCES)


def _children(value: object) -> Iterable[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()
