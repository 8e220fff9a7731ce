"""Turns rows into Records. Compiled once per connection; `record` is the hot path of the whole daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar

from notifyd.model import Record, Status
from notifyd.settings import SourceSettings, StatusMap
from notifyd.sources import documents
from notifyd.sources.batch import SetAside
from notifyd.sources.database import Row
from notifyd.sources.documents import as_text, cut
from notifyd.sources.redaction import redactor
from notifyd.sources.selection import DETAILS, FIELDS, KEY_LIMIT, TEXT_LIMIT, Selection
from notifyd.sources.times import time_reader

NULL = "NULL"
"""How [sources.statuses] lists that a row has no status."""

_STATUS = 1 + FIELDS.index("status")
_REMEMBERED = 4_000  # raw texts, and what they mean
T = TypeVar("T")

_NO_DETAILS: Mapping[str, str] = MappingProxyType({})


class Unmappable(Exception):
    """A row that cannot become a Record; the text says why."""


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one query in their order, mapped. `place` is where in the log the last one stands."""

    records: list[Record]
    set_aside: list[SetAside]
    place: Any

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return len(self.records) + len(self.set_aside)


class RowMapping:
    """How the rows of a selection become Records. `ignores` says whether a message makes a record ignored."""

    def __init__(self, settings: SourceSettings, selection: Selection) -> None:
        self._names = selection.details
        self._inside = tuple(selection.inside)
        self._statuses = Statuses(settings.statuses)
        self.redact = redactor(settings.redact)
        self._limit = settings.text_limit
        self._labels = Labels()  # names that tell schedules and tenants apart: they stay as they are
        self._words = Labels(self.redact)
        self.ignores = _any_of([pattern.found_in for pattern in settings.ignore])
        self._time = time_reader(settings.timezone)

    def record(self, row: Row, read_at: datetime) -> Record:
        """The row as a Record; raises Unmappable. A success carries no details: nothing of it is ever told."""
        if self._inside:
            row = self._with_inner_values(row)
        (
            _,
            key,
            run_id,
            schedule_id,
            connector_id,
            entity_type,
            tenant_id,
            raw_status,
            error_type,
            error_code,
            message,
            occurred_at,
            started_at,
            finished_at,
            heartbeat_at,
        ) = row[:DETAILS]
        if not key or len(key) > KEY_LIMIT:
            raise Unmappable(f"its key is longer than {KEY_LIMIT} characters" if key else "its key is NULL or empty")
        status, labels, words, time = self._statuses[raw_status], self._labels, self._words, self._time
        if message is not None:
            if self.ignores is not None and self.ignores(message):
                status = Status.IGNORED
            if self.redact is not None:
                message = self.redact(message)
            if len(message) > self._limit:
                message = cut(message, self._limit)
        return Record(
            key,
            run_id or None,
            labels[schedule_id],
            words[connector_id],
            words[entity_type],
            labels[tenant_id],
            status,
            words[error_type],
            words[error_code],
            message or None,
            None if occurred_at is None else time(occurred_at),
            None if started_at is None else time(started_at),
            None if finished_at is None else time(finished_at),
            None if heartbeat_at is None else time(heartbeat_at),
            _NO_DETAILS if status is Status.SUCCESS else self._details(row, status),
            read_at,
        )

    def record_or_aside(self, row: Row, read_at: datetime) -> Record | SetAside:
        """The row as a Record, or why it is none."""
        try:
            return self.record(row, read_at)
        except Exception as error:
            return _aside(row, error)

    def page(self, rows: Iterable[Row], read_at: datetime) -> Page:
        """All rows, each as a Record or set aside: one strange row never stops its source."""
        records: list[Record] = []
        set_aside: list[SetAside] = []
        row: Row = (None,)
        keep, record = records.append, self.record
        for row in rows:
            try:
                keep(record(row, read_at))
            except Exception as error:
                set_aside.append(_aside(row, error))
        return Page(records, set_aside, row[0])

    def raw_status(self, row: Row) -> str | None:
        """The status as the log has it; None for NULL, and for what is inside JSON that is malformed."""
        try:
            raw: str | None = self._with_inner_values(row)[_STATUS]
        except Unmappable:
            return None
        return raw

    def status(self, raw: str | None) -> Status:
        """What a raw status means."""
        return self._statuses[raw]

    def _with_inner_values(self, row: Row) -> Row:
        """The row with the values that lie inside its documents in their places."""
        values, parsed = list(row), dict[int, Any]()
        for inside in self._inside:
            if inside.document not in parsed:
                parsed[inside.document] = documents.parse(row[inside.document])
            document = parsed[inside.document]
            if document is documents.MALFORMED and inside.index == _STATUS:
                raise Unmappable("its status is inside JSON that is malformed")
            value = documents.follow(document, inside.path)
            values[inside.index] = value if inside.limit is None else as_text(value, inside.limit)
        return tuple(values)

    def _details(self, row: Row, status: Status) -> dict[str, str]:
        details = {}
        for name, value in zip(self._names, row[DETAILS:], strict=False):
            if (text := as_text(value, TEXT_LIMIT)) is not None:
                details[name] = text
        if status is Status.UNMAPPED:
            details["status"] = "NULL" if row[_STATUS] is None else cut(row[_STATUS], TEXT_LIMIT)
        return details if self.redact is None else {name: self.redact(text) for name, text in details.items()}


class Statuses(dict[str | None, Status]):
    """Raw value → Status: exactly as listed, else whatever the case and spaces, else by pattern, else UNMAPPED.

    SQL's NULL is listed as `NULL`.
    """

    def __init__(self, mapped: Mapping[str, Status]) -> None:
        super().__init__()
        self._patterns = mapped.patterns if isinstance(mapped, StatusMap) else ()
        self._exact = dict(mapped)
        self._folded = {_fold(raw): status for raw, status in reversed(list(mapped.items()))}  # the first one wins

    def __missing__(self, raw: str | None) -> Status:
        if raw is None:
            status = self._exact.get(NULL, Status.UNMAPPED)
        else:
            status = self._exact.get(raw) or self._folded.get(_fold(raw)) or self._matching(raw.strip())
        _remember(self, raw, status)
        return status

    def _matching(self, raw: str) -> Status:
        return next((status for pattern, status in self._patterns if pattern.is_all_of(raw)), Status.UNMAPPED)


class Labels(dict[str | None, str | None]):
    """Texts that many rows share, such as a connector's id: cut, None where empty, and one object for all rows."""

    def __init__(self, redact: Callable[[str], str] | None = None) -> None:
        super().__init__()
        self._redact = redact

    def __missing__(self, raw: str | None) -> str | None:
        text = as_text(raw, TEXT_LIMIT)
        if text is not None and self._redact is not None:
            text = self._redact(text)
        _remember(self, raw, text)
        return text


def moment_of(record: Record) -> datetime | None:
    """When the row says that it happened: when it ended, else when it was written, else when it began."""
    return record.finished_at or record.occurred_at or record.started_at


def unmapped(aside: SetAside, read_at: datetime) -> Record:
    """A stand-in for a row that was set aside, where a Record is asked for by its key."""
    return Record(
        key=aside.key,
        run_id=None,
        schedule_id=None,
        connector_id=None,
        entity_type=None,
        tenant_id=None,
        status=Status.UNMAPPED,
        error_type=None,
        error_code=None,
        message=None,
        occurred_at=None,
        started_at=None,
        finished_at=None,
        heartbeat_at=None,
        details={"set_aside": aside.text},
        read_at=read_at,
    )


def _remember(memory: dict[str | None, T], raw: str | None, meaning: T) -> None:
    """Keep what a short raw text means; a memory that is full begins anew."""
    if len(memory) >= _REMEMBERED:
        memory.clear()
    if len(raw or "") <= TEXT_LIMIT:
        memory[raw] = meaning


def _fold(raw: str) -> str:
    return raw.strip().casefold()


def _any_of(searches: list[Callable[[str], object]]) -> Callable[[str], object] | None:
    """One search for all of them; None for none."""
    if len(searches) < 2:
        return searches[0] if searches else None
    return lambda text: any(search(text) for search in searches)


def _aside(row: Row, error: Exception) -> SetAside:
    text = str(error) if isinstance(error, Unmappable) else f"{type(error).__name__} while it was read"
    return SetAside(row[1][:KEY_LIMIT] if row[1] else f"row {row[0]}", text)
