"""How a source's columns and raw status values map to a Record's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    TypeAdapter,
)

from notifyd.expression import Expression
from notifyd.model import Status
from notifyd.settings.values import Also, Regex, Table, Text, Written


@dataclass(frozen=True)
class Column:
    """Where a field of a Record comes from: a column, a path inside the JSON that a column holds, or SQL.

    `column` is the column's name, or the SQL expression where `sql` is true. `parts` are the columns whose
    values together are the field.
    """

    column: str
    json: str | None = None
    sql: bool = False
    parts: tuple[str, ...] = ()


class _ColumnTable(Table):
    """A column that holds JSON."""

    column: Text = Field(description="The column's name.")
    path: Text | None = Field(None, alias="json", description="A path inside the JSON that the column holds.")


def _expression(text: str) -> str:
    if ";" in text or "--" in text or "/*" in text or "\0" in text:
        raise ValueError("is one SQL expression over the columns of a row, without ; and comments")
    return text


class _SqlTable(Table):
    """An SQL expression over the columns of a row."""

    sql: Annotated[Text, StringConstraints(max_length=1_000), AfterValidator(_expression)] = Field(
        description="An expression in the database's own SQL, such as \"split_part(job, '/', 1)\"."
    )


def _column(value: Any) -> Column:
    if isinstance(value, Column):
        return value
    if isinstance(value, str) and value:
        return Column(value)
    if isinstance(value, dict) and "sql" in value:
        return Column(_SqlTable.model_validate(value).sql, sql=True)
    if isinstance(value, dict):
        table = _ColumnTable.model_validate(value)
        return Column(table.column, table.path)
    if isinstance(value, list) and value:
        parts = _NAMES.validate_python(value, strict=True)
        return Column(", ".join(parts), parts=tuple(parts))
    raise ValueError(
        'expected a column\'s name, a list of them, { column = "payload", json = "error.text" }, or { sql = "…" }'
    )


ColumnRef = Annotated[
    Column,
    PlainValidator(_column),
    PlainSerializer(asdict),
    Written(
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
        _ColumnTable,
        _SqlTable,
    ),
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
    updated_at: ColumnRef | None = Field(
        None, description="When the row was last changed. With an index, rows that are run again are seen by it."
    )
    heartbeat_at: ColumnRef | None = Field(None, description="When a run that goes on last showed a sign of life.")
    details: Details = Field(
        default_factory=dict, description="More columns to show: a list of them, or a table of names and columns."
    )


class _StatusPattern(Table):
    """The raw values that a pattern matches from their first to their last character."""

    matches: Regex = Field(description="A regular expression, matched with the whole value, whatever the case.")


class StatusMap(dict[str, Status]):
    """Raw value → Status; and, for what is not listed itself, `patterns` in their order."""

    def __init__(self, listed: Mapping[str, Status], patterns: Sequence[tuple[Expression, Status]] = ()) -> None:
        super().__init__(listed)
        self.patterns = tuple(patterns)


def _raw_value(value: Any) -> str | Expression:
    """A raw status as the text that sources compare with; job tables often keep numbers."""
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    if isinstance(value, dict):
        return _StatusPattern.model_validate(value).matches
    if isinstance(value, bool):
        quoted = f'"{str(value).lower()}"'
        raise ValueError(f"expected text: a column of true and false is compared with {quoted}, in quotes")
    raise ValueError('expected text, a whole number, or { matches = "…" }')


RawValue = Annotated[
    str | Expression,
    PlainValidator(_raw_value),
    Written({"type": "string"}, {"type": "integer"}, _StatusPattern),
]


class StatusLists(Table):
    """Which raw values of the status column mean what."""

    success: list[RawValue] = Field(default_factory=list, description="It worked.")
    failure: list[RawValue] = Field(default_factory=list, description="It failed, and people are told.")
    warning: list[RawValue] = Field(default_factory=list, description="Neither counts as a failure nor ends a streak.")
    running: list[RawValue] = Field(default_factory=list, description="Not ended yet: the row is watched.")
    retrying: list[RawValue] = Field(default_factory=list, description="It will be tried again: no failure yet.")
    ignored: list[RawValue] = Field(default_factory=list, description="Of no interest here.")


def _statuses(value: Any) -> StatusMap:
    """Raw value → Status, from lists of raw values per status."""
    if isinstance(value, StatusMap):
        return value
    if isinstance(value, Mapping) and value and all(isinstance(status, Status) for status in value.values()):
        return StatusMap(value)
    lists = StatusLists.model_validate(value)
    listed: dict[str, Status] = {}
    patterns: list[tuple[Expression, Status]] = []
    for status in StatusLists.model_fields:
        for raw in getattr(lists, status):
            if isinstance(raw, Expression):
                patterns.append((raw, Status(status)))
            elif listed.setdefault(raw, Status(status)) != status:
                raise ValueError(f'"{raw}" is listed under both {listed[raw]} and {status}')
    if Status.FAILURE not in (*listed.values(), *(status for _, status in patterns)):
        raise ValueError('names no failure, so nothing would ever be told; expected failure = ["…"]')
    return StatusMap(listed, patterns)


Statuses = Annotated[
    StatusMap,
    PlainValidator(_statuses),
    PlainSerializer(dict),
    Written(StatusLists),
]
