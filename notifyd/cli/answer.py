"""The answer to `notifyd why`: what the state DB knows of a key, and the rows that it stands for at their source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from notifyd.cli.explain import Known, explain
from notifyd.cli.options import with_urls
from notifyd.cli.output import local
from notifyd.clock import utc_now
from notifyd.core.rules import Origin, Rules
from notifyd.core.runs import run_of, schedule_of
from notifyd.model import Record, Status
from notifyd.settings import Settings, SourceSettings
from notifyd.sources import Source, SourceError, open_source
from notifyd.store import reads, schedules
from notifyd.store.database import Database
from notifyd.store.schedules import ScheduleState
from notifyd.store.trace import EventTrace, Trace, of_schedule, row_facts, set_aside, trace


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row at its source. `explanation` says why it gave no event; None where it did.

    `run_events` are those of its run, where it failed and was counted into it.
    """

    source: str
    record: Record
    explanation: str | None
    run_events: tuple[EventTrace, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that was found of a key. `notes` say where it could not be looked for; `schedules` are those of that
    name, where nothing else has it."""

    key: str
    trace: Trace | None
    rows: list[FoundRow]
    notes: list[str]
    schedules: list[ScheduleState]

    @property
    def events(self) -> list[EventTrace]:
        """The events that the key leads to, else those of the runs that its rows belong to."""
        found = self.trace.events if self.trace else [event for row in self.rows for event in row.run_events]
        return list({event.event.id: event for event in found}.values())


def answer(db: Database, settings: Settings, key: str, source: SourceSettings | None) -> Answer:
    """Look for a key everywhere, or among the rows of one source."""
    found = trace(db, key, source.id if source else None)
    rows: list[FoundRow] = []
    notes: list[str] = []
    for each, wanted in _places(settings, found, key, source):
        try:
            with closing(open_source(each)) as opened:
                rows += _rows(db, opened, wanted, settings.rules.detection())
        except SourceError as error:
            notes.append(str(error))
        notes += _aside(db, each, wanted, rows)
    named = [] if found or rows else schedules.called(db, key, source.id if source else None)
    if len(named) == 1:
        found = of_schedule(db, named[0][0], named[0][1].schedule)
    return Answer(key, found, rows, notes, [state for _, state in named])


def _places(
    settings: Settings, found: Trace | None, key: str, source: SourceSettings | None
) -> Iterator[tuple[SourceSettings, str]]:
    """Which source to ask for which key."""
    sources = {each.id: each for each in with_urls(settings)}
    everywhere = [(identity, key) for identity in sources if source is None or source.id == identity]
    for identity, wanted in dict.fromkeys(_row_keys(found, key)) if found else everywhere:
        if identity in sources:
            yield sources[identity], wanted


def _row_keys(found: Trace, key: str) -> Iterator[tuple[str, str]]:
    """The rows that a trace comes from: (source id, key of a row or a run)."""
    for event in found.events:
        wanted = {"row": key, "run": key, "event": event.record_key}.get(found.what)
        if event.source_id and wanted:
            yield event.source_id, wanted


def _rows(db: Database, source: Source, key: str, rules: Rules) -> list[FoundRow]:
    state = reads.source(db, source.settings.id)
    return [_row(db, source, state, record, rules) for record in source.find(key, utc_now())]


def _row(db: Database, source: Source, state: reads.SourceState | None, record: Record, rules: Rules) -> FoundRow:
    settings = source.settings
    run_id = run_of(record, Origin(settings.name, settings.id, rows=settings.rows))
    facts = row_facts(db, settings.id, record.key, schedule_of(record), run_id)
    if any(record.key in (event.record_key, run_id) for event in facts.run_events):
        return FoundRow(settings.name, record, None, facts.run_events)
    passed = source.passed(state.cursor, record.key) if state else None
    known = Known(settings, state, facts, passed, rules)
    counted = facts.run_events if record.status is Status.FAILURE else ()
    return FoundRow(settings.name, record, explain(record, known), counted)


def _aside(db: Database, source: SourceSettings, key: str, rows: Sequence[FoundRow]) -> Iterator[str]:
    """That a row was set aside, where it is not at its source any more."""
    aside = set_aside(db, source.id, key)
    if aside and not any(row.source == source.name and row.record.key == key for row in rows):
        yield f"source {source.name}: row {key} was set aside at {local(aside.set_aside_at)}: {aside.text}"
