"""Types of single values: names, patterns, time zones, networks, addresses. Each says what it expected instead."""

from __future__ import annotations

import ipaddress
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from notifyd import fast
from notifyd.api import Secret
from notifyd.expression import Expression
from notifyd.render import check_template
from notifyd.settings.durations import DURATION_SCHEMA, as_duration, format_duration
from notifyd.settings.urls import check_source_url, check_url
from notifyd.settings.wording import did_you_mean


class Table(BaseModel):
    """A table of the settings file: unknown keys and wrong types are errors, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Written:
    """Gives a field the JSON Schema of what people write, instead of that of what it becomes."""

    def __init__(self, *shapes: JsonSchemaValue | type[Table]) -> None:
        self.shapes = shapes

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        shapes = [
            shape if isinstance(shape, dict) else handler(shape.__pydantic_core_schema__) for shape in self.shapes
        ]
        return shapes[0] if len(shapes) == 1 else {"anyOf": shapes}


class Also:
    """Adds one more shape to the JSON Schema of a field."""

    def __init__(self, shape: JsonSchemaValue) -> None:
        self._shape = shape

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [self._shape, handler(schema)]}


def _name(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("may not hold line breaks or control characters, nor begin or end with a space")
    return text


Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_name)]


def _regex(value: Any) -> Expression:
    if isinstance(value, Expression):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("expected a regular expression in quotes")
    return Expression(value)


Regex = Annotated[
    Expression,
    PlainValidator(_regex),
    PlainSerializer(lambda pattern: pattern.pattern, return_type=str),
    WithJsonSchema({"type": "string", "format": "regex", "minLength": 1}),
]
"""A pattern to search with. It ignores case; `(?-i:…)` minds it."""


def _timezone(value: Any) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    if not isinstance(value, str):
        raise ValueError('expected the name of a time zone, such as "America/Edmonton"')
    try:
        return ZoneInfo(value)
    except (OSError, ValueError, LookupError):
        hint = did_you_mean(value, available_timezones(), 0.8) or '; expected a name such as "America/Edmonton"'
        raise ValueError(f"is not a time zone{hint}") from None


Timezone = Annotated[
    ZoneInfo,
    PlainValidator(_timezone),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["UTC", "America/Edmonton"]}),
]


def _folder(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected the path of a folder")
    return Path(value)


Folder = Annotated[Path, PlainValidator(_folder), PlainSerializer(str), WithJsonSchema({"type": "string"})]


def _fast(value: bool | None) -> bool | None:
    if value and not fast.installed():
        raise ValueError("needs what is not installed; pip install 'notifyd[fast]'")
    return value


Fast = Annotated[bool | None, AfterValidator(_fast)]


def _network(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError as error:
        hint = "; this address is inside of one" if "host bits" in str(error) else ""
        raise ValueError(f'expected a network such as "10.0.0.0/8" or "fd00::/8"{hint}') from None


Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network,
    PlainValidator(_network),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.0/8"]}),
]


def _http_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+\S*", text):
        raise ValueError("expected a link that begins with http:// or https://")
    return text


HttpUrl = Annotated[str, AfterValidator(_http_url), WithJsonSchema({"type": "string", "pattern": "^https?://"})]


def _public_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise ValueError("expected the address of a server, such as https://notifyd.example.com")
    return text.rstrip("/")


PublicUrl = Annotated[str, AfterValidator(_public_url), WithJsonSchema({"type": "string", "pattern": "^https?://"})]


def _template_text(source: str) -> str:
    if problem := check_template(source):
        raise ValueError(problem)
    return source


TemplateText = Annotated[str, StringConstraints(min_length=1), AfterValidator(_template_text)]
"""A title or a body that works with every kind of event."""

_UNIX = "unix:"
_LONGEST_SOCKET_PATH = 107  # sun_path of unix(7), and its NUL
_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")


def split_address(text: str) -> tuple[str, int] | None:
    """Host and port of "host:port" or "[v6]:port"; None where it is neither."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65_535:
        return None
    return match["v6"] or match["host"], int(match["port"])


def socket_path(text: str) -> Path | None:
    """The path of "unix:/path"; None where it is an address."""
    return Path(text.removeprefix(_UNIX)) if text.startswith(_UNIX) else None


def _listen(text: str) -> str:
    path = socket_path(text)
    if path is not None:
        _check_socket(path)
    elif text and split_address(text) is None:
        raise ValueError(
            'expected "host:port", such as "127.0.0.1:8321" or "[::1]:8321", "unix:/path" for a socket, or "" for off'
        )
    return text


def _check_socket(path: Path) -> None:
    if not path.is_absolute() or "\0" in str(path):
        raise ValueError('the path of a socket must be absolute, such as "unix:/run/notifyd/api.sock"')
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise ValueError(f"the path of a socket may have {_LONGEST_SOCKET_PATH} bytes at most")


Listen = Annotated[str, AfterValidator(_listen)]


def _start(value: Any) -> Literal["now", "beginning"] | timedelta:
    if value in ("now", "beginning"):
        return cast("Literal['now', 'beginning']", value)
    try:
        return as_duration(value)
    except ValueError:
        raise ValueError('expected "now", "beginning", or how far back, such as "24h"') from None


def _written_start(start: Literal["now", "beginning"] | timedelta) -> str:
    return format_duration(start) if isinstance(start, timedelta) else start


Start = Annotated[
    Literal["now", "beginning"] | timedelta,
    PlainValidator(_start),
    PlainSerializer(_written_start, return_type=str),
    WithJsonSchema({"anyOf": [{"enum": ["now", "beginning"]}, DURATION_SCHEMA]}),
]

StateUrl = Annotated[str, AfterValidator(check_url)]


def _source_url(secret: Secret) -> Secret:
    if secret.resolved:
        check_source_url(secret.reveal())
    return secret


SourceUrl = Annotated[Secret, AfterValidator(_source_url)]
