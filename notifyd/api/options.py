"""Options of channels and filters, and the secrets among them."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializationInfo,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

MASK = "<secret>"

Resolver = Callable[[str, str], str | None]
"""(kind, name) → text, for kind in "env", "file", "credential"; None leaves it unresolved. It raises ValueError."""


class Options(BaseModel):
    """What one config gives its channel: subclass it, and list your keys. Unknown keys are refused."""

    # defer_build: what validates is made, and kept, only for the channels that configs use
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


class _SettingsOnly:
    """The mark of an option that a settings file may give and the API may not."""


SETTINGS_ONLY: Final = _SettingsOnly()
"""`Annotated[str, SETTINGS_ONLY]`: whoever may use the API may not say this, such as a path on the server."""


class _Target:
    """The mark of an option that says where the config's secrets are sent."""


TARGET: Final = _Target()
"""`Annotated[str, TARGET]`: a host, a port, whether TLS is used. A SecretUrl is a target by itself.

The API never shows a secret, but lets a config keep it; not, though, where its target becomes another one.
"""


def settings_only(kind: Any) -> frozenset[str]:
    """The keys of these Options that the API refuses, as they hold something marked SETTINGS_ONLY."""
    fields = kind.model_fields.items()
    return frozenset(name for name, field in fields if any(map(_is_marked, (field.annotation, *field.metadata))))


def _is_marked(kind: Any) -> bool:
    if kind is SETTINGS_ONLY or (isinstance(kind, type) and issubclass(kind, PurePath)):
        return True
    nested = settings_only(kind) if isinstance(kind, type) and issubclass(kind, BaseModel) else ()
    return bool(nested) or any(map(_is_marked, get_args(kind)))


def sends(info: ValidationInfo) -> bool:
    """Whether the options are for sending: then secrets are fetched, and files have to be there."""
    return bool((info.context or {}).get("secrets"))


@dataclass(frozen=True)
class Form:
    """`Annotated[Secret, AfterValidator(check), Form("^whsec_")]`: the form of a text, for its JSON Schema.

    It checks nothing, but lets who draws or fills in a form know beforehand what the check will take.
    """

    pattern: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return self.applied_to(handler(schema))

    def applied_to(self, schema: JsonSchemaValue) -> JsonSchemaValue:
        """The schema, with the pattern where it speaks of a text."""
        for shape in (schema, *schema.get("anyOf", ())):
            if shape.get("type") == "string":
                shape["pattern"] = self.pattern
        return schema


class Secret:
    """A text that nothing prints: its repr and str are `<secret>`, in tracebacks and logs too.

    In TOML it is text, or one of `{ env = "NAME" }`, `{ file = "PATH" }`, `{ credential = "NAME" }`.
    Where a command does not resolve secrets it stays unresolved, and `reveal` raises LookupError.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str | None) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Use it where it is sent, and nowhere else."""
        if self._text is None:
            raise LookupError("this secret was not resolved, because the command does not need it")
        return self._text

    @property
    def resolved(self) -> bool:
        """Whether there is a text to reveal."""
        return self._text is not None

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # it never changes, so a copy is itself

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Secret is not pickled")

    @classmethod
    def _validate(cls, value: Any, info: ValidationInfo) -> Self:
        if isinstance(value, cls):
            return value
        if isinstance(value, Secret | dict):
            value = value._text if isinstance(value, Secret) else _resolve(value, info.context)
            if value is None:
                return cls(None)
        if not isinstance(value, str):
            raise ValueError('expected text, or one of { env = "…" }, { file = "…" }, { credential = "…" }')
        if not value:
            raise ValueError("is empty")
        if problem := cls._problem(value):
            raise ValueError(problem)
        return cls(value)

    @classmethod
    def _problem(cls, text: str) -> str | None:
        """What is wrong with the text, without quoting it."""
        return None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(_written, info_arg=True),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = {
            "type": "object",
            "properties": {key: {"type": "string"} for key in ("env", "file", "credential")},
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
        }
        return {"anyOf": [{"type": "string", "minLength": 1, "writeOnly": True}, reference]}


_REVEALING: Final = {"secrets": "as text"}


def _written(secret: Secret, info: SerializationInfo) -> str:
    return secret.reveal() if info.context is _REVEALING else MASK


def with_secrets(options: Options) -> str:
    """The options as JSON with their secrets as text: for the process that sends with them, and for nobody else."""
    return options.model_dump_json(by_alias=True, exclude_unset=True, context=_REVEALING)


_NAME = "(?:[A-Za-z0-9_-]{1,63}\\.){0,6}[A-Za-z0-9_-]{1,63}"
_GROUP = "[0-9A-Fa-f]{1,4}"
_V6 = f"\\[(?:(?:{_GROUP}:){{7}}{_GROUP}|(?:{_GROUP}:){{1,5}}:{_GROUP}|::{_GROUP})\\]"
_PORT = "(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
_UNSEEN = "\\x00-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"

URL_FORM = Form(f"^[Hh][Tt][Tt][Pp][Ss]?://(?:{_NAME}|{_V6}){_PORT}(?:[/?#][^{_UNSEEN}]*)?$")
"""A URL as it is usually written: a host in ASCII, and no user in it."""


class SecretUrl(Secret):
    """A secret http or https URL, as a webhook's is. `host` may be shown; path, query and userinfo may not."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return URL_FORM.applied_to(super().__get_pydantic_json_schema__(schema, handler))

    @property
    def host(self) -> str:
        """The host name, for people."""
        return urllib.parse.urlsplit(self.reveal()).hostname or ""

    @classmethod
    def _problem(cls, text: str) -> str | None:
        if any(char.isspace() or ord(char) < 32 for char in text):
            return "a URL may not hold spaces or control characters"
        try:
            parts = urllib.parse.urlsplit(text)
            port = parts.port
        except ValueError:
            return "is not a URL"
        if parts.scheme not in ("http", "https"):
            return "must begin with http:// or https://"
        if not parts.hostname:
            return "has no host name"
        if port == 0:
            return "port 0 cannot be called"
        return None


def _resolve(value: dict[Any, Any], context: Any) -> str | None:
    if len(value) != 1 or next(iter(value)) not in ("env", "file", "credential"):
        raise ValueError('expected exactly one of { env = "…" }, { file = "…" }, { credential = "…" }')
    kind, name = next(iter(value.items()))
    if not isinstance(name, str) or not name:
        raise ValueError(f"{kind} must name something")
    resolver: Resolver | None = (context or {}).get("secrets")
    return resolver(kind, name) if resolver else None
