"""How a source's columns and raw status values map to a Record's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    WithJsonSchema,
)

from notifyd.model import Status
from notifyd.settings.values import Also, Table, Text, Written


@dataclass(frozen=True)
class Column:
    """Where a field of a Record comes from: a column, or a path inside the JSON that a column holds."""

    column: str
    json: str | None = None


class _ColumnTable(Table):
    """A column that holds JSON."""

    column: Text = Field(description="The column's name.")
    path: Text | None = Field(None, alias="json", description="A path inside the JSON that the column holds.")


def _column(value: Any) -> Column:
    if isinstance(value, Column):
        return value
    if isinstance(value, str) and value:
        return Column(value)
    if isinstance(value, dict):
        table = _ColumnTable.model_validate(value)
        return Column(table.column, table.path)
    raise ValueError('expected a column\'s name, or { column = "payload", json = "error.text" }')


ColumnRef = Annotated[
    Column,
    PlainValidator(_column),
    PlainSerializer(asdict),
    Written({"type": "string", "minLength": 1}, _ColumnTable),
]

_NAMES: TypeAdapter[list[str]] = TypeAdapter(list[Text])


def _details(value: Any) -> Any:
    """A list of columns is a table of columns under their own names."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        raise ValueError("expected a list of columns, or a table of names and columns")
    return {name: Column(name) for name in _NAMES.validate_python(value, strict=True)}


Details = Annotated[
    dict[str, ColumnRef],
    BeforeValidator(_details),
    Also({"type": "array", "items": {"type": "string", "minLength": 1}}),
]


class Columns(Table):
    """Which column holds which field of a record."""

    key: ColumnRef = Field(description='Tells rows apart and orders them; "rowid" where there is no other.')
    run_id: ColumnRef | None = Field(None, description="What the records of one run share.")
    schedule_id: ColumnRef | None = Field(None, description="What fails in a row; else tenant, connector and entity.")
    connector_id: ColumnRef | None = Field(None, description='The system on the other side, such as "quickbooks".')
    entity_type: ColumnRef | None = Field(None, description='What is synced, such as "orders".')
    tenant_id: ColumnRef | None = Field(None, description="Whose data it is.")
    status: ColumnRef = Field(description="How the row ended; `statuses` says what its values mean.")
    error_type: ColumnRef | None = Field(None, description="The log's own kind of error.")
    error_code: ColumnRef | None = Field(None, description="The log's own code, such as an HTTP status.")
    message: ColumnRef | None = Field(None, description="The text that people are told.")
    occurred_at: ColumnRef | None = Field(None, description="When the row was written.")
    started_at: ColumnRef | None = Field(None, description="When the run began.")
    finished_at: ColumnRef | None = Field(None, description="When the run ended.")
    updated_at: ColumnRef | None = Field(None, description="When the row was last changed.")
    details: Details = Field(
        default_factory=dict, description="More columns to show: a list of them, or a table of names and columns."
    )


def _raw_value(value: Any) -> str:
    """A raw status as the text that sources compare with; job tables often keep numbers."""
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise ValueError("expected text or a whole number")


RawValue = Annotated[
    str,
    PlainValidator(_raw_value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
]


class StatusLists(Table):
    """Which raw values of the status column mean what."""

    success: list[RawValue] = Field(default_factory=list, description="It worked.")
    failure: list[RawValue] = Field(default_factory=list, description="It failed, and people are told.")
    warning: list[RawValue] = Field(default_factory=list, description="Neither counts as a failure nor ends a streak.")
    running: list[RawValue] = Field(default_factory=list, description="Not ended yet: the row is watched.")
    retrying: list[RawValue] = Field(default_factory=list, description="It will be tried again: no failure yet.")
    ignored: list[RawValue] = Field(default_factory=list, description="Of no interest here.")


def _statuses(value: Any) -> Mapping[str, Status]:
    """Raw value → Status, from lists of raw values per status."""
    if isinstance(value, Mapping) and value and all(isinstance(status, Status) for status in value.values()):
        return value
    lists: dict[str, list[str]] = StatusLists.model_validate(value).model_dump()
    statuses: dict[str, Status] = {}
    for status, raws in lists.items():
        for raw in raws:
            if statuses.setdefault(raw, Status(status)) != status:
                raise ValueError(f'"{raw}" is listed under both {statuses[raw]} and {status}')
    if Status.FAILURE not in statuses.values():
        raise ValueError('names no failure, so nothing would ever be told; expected failure = ["…"]')
    return statuses


Statuses = Annotated[
    Mapping[str, Status],
    PlainValidator(_statuses),
    PlainSerializer(dict),
    Written(StatusLists),
]
