"""Validates parts of a document with pydantic, and collects every problem with its place and in plain words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, time
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from notifyd.api import Secret
from notifyd.settings.document import Document
from notifyd.settings.kinds import Location, follow, keys_at
from notifyd.settings.locate import KeyPath
from notifyd.settings.problems import Problem, SettingsError
from notifyd.settings.secrets import SecretResolver
from notifyd.settings.wording import explain, printable

T = TypeVar("T")
MASK = repr(Secret(None))
_SHORTEST_MASKED = 4  # masking shorter texts would only garble the message


class Report:
    """The problems of one document so far. `secrets` are the texts that must not appear in them.

    Without a resolver, secrets that stand elsewhere stay unresolved.
    """

    def __init__(self, document: Document, resolver: SecretResolver | None) -> None:
        self.document, self.resolver = document, resolver
        self.secrets: set[str] = resolver.texts if resolver else set()
        self._context = {"secrets": resolver} if resolver else {}
        self._texts: dict[KeyPath, dict[str, None]] = {}

    def add(self, path: KeyPath, text: str) -> None:
        """Note a problem; the same one twice is one. What it quotes cannot break out of its line."""
        self._texts.setdefault(path, {})[printable(text)] = None

    @property
    def problems(self) -> list[Problem]:
        """All that was noted."""
        return [self._problem(path, texts) for path, texts in self._texts.items()]

    def raise_if_any(self) -> None:
        """Raise SettingsError with all that was noted."""
        if problems := self.problems:
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
                    self._add_detail(detail, kind, value, place, around)
            return None

    def _add_detail(
        self,
        detail: ErrorDetails,
        kind: Any,
        value: object,
        place: Callable[[KeyPath], KeyPath],
        around: tuple[KeyPath, Any] | None,
    ) -> None:
        loc = detail["loc"]
        inner, found = follow(value, loc)
        path = place((*inner, loc[-1]) if detail["type"] == "missing" else inner)
        hint = self._misplaced(loc, kind, path, around) if detail["type"] == "extra_forbidden" else None
        text = hint or explain(detail, found, keys_at(kind, loc[:-1]))
        self.add(path, self.masked(text) if "error" in detail.get("ctx", {}) else text)

    def _misplaced(self, loc: Location, kind: Any, path: KeyPath, around: tuple[KeyPath, Any] | None) -> str | None:
        """Whether an unknown key is one of an outer table: TOML gives a key to the header above it."""
        if len(loc) > 1 and loc[-1] in keys_at(kind, loc[:-2]):
            return self.belongs_to(path[:-2])
        if around is not None and loc[-1] in keys_at(around[1], ()):
            return self.belongs_to(around[0])
        return None

    def belongs_to(self, table: KeyPath) -> str:
        """What is wrong with a key of `table` that stands below another table's header."""
        return f"unknown key; it belongs to {self.document.label(table)}: write it above the header of this table"

    def _problem(self, path: KeyPath, texts: Mapping[str, None]) -> Problem:
        return self.document.problem(path, "; or: ".join(texts))

    def masked(self, text: str) -> str:
        """The words of somebody else's code without the secrets that it was given."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= _SHORTEST_MASKED:
                text = text.replace(secret, MASK)
        return text


def _follows_from_another(detail: ErrorDetails, *, partial: bool) -> bool:
    """Whether the error is there only because of another one."""
    if detail["type"] == "default_factory_not_called":
        return True
    return partial and (detail["type"] == "missing" or not detail["loc"])


def _date_as_text(value: date | time) -> str:
    return value.isoformat()


def _date_as_nothing(value: date | time) -> list[None]:
    """A list of nothing is what no setting takes, so that a date is told from text."""
    return [None]
