"""Validates parts of a document with pydantic, and collects every problem with its place and in plain words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, time
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from notifyd.api import Secret
from notifyd.settings.document import Document
from notifyd.settings.locate import KeyPath
from notifyd.settings.problems import Problem, SettingsError
from notifyd.settings.secrets import REFERENCES, SecretResolver
from notifyd.settings.values import Written
from notifyd.settings.wording import explain

T = TypeVar("T")
MASK = repr(Secret(None))
_SHORTEST_MASKED = 4  # masking shorter texts would only garble the message


class Report:
    """The problems of one document so far; no text of `secrets` appears in them.

    Without a resolver, secrets that stand elsewhere stay unresolved.
    """

    def __init__(self, document: Document, resolver: SecretResolver | None) -> None:
        self.document = document
        self.secrets: set[str] = resolver.texts if resolver else set()
        self._context = {"secrets": resolver} if resolver else {}
        self._texts: dict[KeyPath, dict[str, None]] = {}

    def add(self, path: KeyPath, text: str) -> None:
        """Note a problem; the same one twice is one."""
        self._texts.setdefault(path, {})[self._masked(text)] = None

    def raise_if_any(self) -> None:
        """Raise SettingsError with all that was noted."""
        if problems := [self._problem(path, texts) for path, texts in self._texts.items()]:
            raise SettingsError(problems)

    def section(self, name: str, kind: type[T]) -> T:
        """A table at the top of the file; as if it were not there where it is wrong."""
        return self.check(kind, self.document.data.get(name, {}), (name,)) or kind()

    def check_unique(self, path: KeyPath, key: str) -> None:
        """Note each table of a list whose name is that of another one before it."""
        seen: dict[Any, KeyPath] = {}
        for table_path, table in self.document.tables(path):
            name = table.get(key)
            if isinstance(name, str) and (first := seen.setdefault(name, table_path)) != table_path:
                line = self.document.line((*first, key))
                self.add((*table_path, key), f'"{name}" is already the {key} of the one on line {line}')

    def check(
        self,
        kind: Any,
        value: object,
        at: KeyPath | Callable[[KeyPath], KeyPath],
        *,
        partial: bool = False,
        dates: bool = False,
        around: tuple[KeyPath, Any] | None = None,
    ) -> Any:
        """The value as a `kind` (any type that pydantic validates), or None after noting what is wrong.

        `at` is where the value stands, or turns a path inside of it into one of the document. With
        `partial` a part of the value is known to be missing, so nothing is said of what it lacks. With
        `dates` a TOML date may stand where text is read. `around` is the table around it, and its type.

        Strict JSON is exactly TOML's typing: no "1" for 1, but a list for a tuple and text for an enum.
        """
        text = json.dumps(value, default=_date_as_text if dates else _date_as_nothing)
        try:
            return TypeAdapter(kind).validate_json(text, strict=True, context=self._context)
        except ValidationError as error:
            place = at if callable(at) else lambda path: (*at, *path)
            for detail in error.errors(include_url=False, include_input=False):
                if not _follows_from_another(detail, partial=partial):
                    path, found = _follow(value, detail)
                    hint = self._misplaced(detail, kind, place(path), around)
                    self.add(place(path), hint or explain(detail, found, _keys(kind, detail["loc"][:-1])))
            return None

    def _misplaced(
        self, detail: ErrorDetails, kind: Any, path: KeyPath, around: tuple[KeyPath, Any] | None
    ) -> str | None:
        """For an unknown key that an outer table takes: TOML gives a key to the header above it."""
        if detail["type"] != "extra_forbidden":
            return None
        key, outer = detail["loc"][-1], detail["loc"][:-2]
        if len(detail["loc"]) > 1 and key in _keys(kind, outer):
            return self.belongs_to(path[:-2])
        if around is not None and key in _keys(around[1], ()):
            return self.belongs_to(around[0])
        return None

    def belongs_to(self, table: KeyPath) -> str:
        """What is wrong with a key of `table` that stands below another table's header."""
        return f"unknown key; it belongs to {self.document.label(table)}: write it above the header of this table"

    def _problem(self, path: KeyPath, texts: Mapping[str, None]) -> Problem:
        return self.document.problem(path, "; or: ".join(texts))

    def _masked(self, text: str) -> str:
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= _SHORTEST_MASKED:
                text = text.replace(secret, MASK)
        return text


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


def _follows_from_another(detail: ErrorDetails, *, partial: bool) -> bool:
    """Whether the error is there only because of another one."""
    if detail["type"] == "default_factory_not_called":
        return True
    return partial and (detail["type"] == "missing" or not detail["loc"])


def _follow(value: Any, detail: ErrorDetails) -> tuple[KeyPath, object]:
    """The path inside a value that an error's location means, and what stands there.

    pydantic also names the members of unions and the like, which are steps that the value does not have.
    """
    path: KeyPath = ()
    for step in detail["loc"]:
        children = dict(_children(value))
        if step in children:
            path, value = (*path, step), children[step]
    return (*path, detail["loc"][-1]) if detail["type"] == "missing" else path, value


def _keys(kind: Any, loc: tuple[str | int, ...]) -> list[str]:
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


def _date_as_text(value: date | time) -> str:
    return value.isoformat()


def _date_as_nothing(value: date | time) -> list[None]:
    """A list of nothing is what no setting takes, so that a date is told from text."""
    return [None]
