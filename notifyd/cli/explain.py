"""Why a row of a sync log gave no event of its own, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from notifyd.cli.output import count, local
from notifyd.cli.records import moment
from notifyd.core.classify import classify
from notifyd.core.rules import Rules
from notifyd.core.watching import MOST_OPEN
from notifyd.model import Record, Status
from notifyd.settings import SourceSettings, format_duration
from notifyd.sources import standing
from notifyd.store.reads import SourceState
from notifyd.store.trace import EventTrace, RowFacts

_PLAIN = {
    Status.SUCCESS: "a success: nothing to tell",
    Status.WARNING: "a warning: it neither counts as a failure nor ends a streak",
    Status.RUNNING: "it has not ended yet",
    Status.RETRYING: "it will be retried, so it has not failed yet",
}


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the row: of its source, of itself, and whether the cursor has passed it."""

    source: SourceSettings
    state: SourceState | None
    facts: RowFacts
    passed: bool | None
    rules: Rules


def explain(record: Record, known: Known) -> str:
    """Why this row gave no event; the first reason that holds."""
    if known.state is None:
        return "no daemon has begun to read this source yet"
    if known.facts.set_aside is not None:
        aside = known.facts.set_aside
        return f"it was set aside at {local(aside.set_aside_at)}: {aside.text}"
    if known.passed is False:
        return f"not read yet: {_reading(known.state)}"
    if record.status is Status.FAILURE and classify(record, known.rules) is not None:
        return _failure(record, known, known.state)
    return _harmless(record, known)


def _reading(state: SourceState) -> str:
    """How reading fares."""
    if state.error:
        return f"the source cannot be read since {local(state.failing_since)}: {state.error}"
    return f"reading was at {standing(state.cursor).text} at {local(state.read_at)}"


def _harmless(record: Record, known: Known) -> str:
    if record.status is Status.UNMAPPED:
        raw = record.details.get("status", "")
        return f'its status "{raw}" is unmapped and counts for nothing; list it under [sources.statuses]'
    if record.status in (Status.IGNORED, Status.FAILURE):
        return f"ignored: {next(_ignored_by(record, known))}"
    since = known.facts.watched_since
    watched = f"; it is looked at since {local(since)}" if since else ""
    return f"{_PLAIN[record.status]}{watched}"


def _ignored_by(record: Record, known: Known) -> Iterator[str]:
    """What made it ignored: a text rule of the source, its status, a pattern of the rules, or the built-in words."""
    text = record.message or ""
    for pattern in known.source.ignore:
        if pattern.found_in(text):
            yield f'its message matches "{pattern.pattern}", of the source\'s ignore'
    if record.status is Status.IGNORED:
        yield "the source maps its status to ignored"
    for rule in known.rules.patterns:
        if rule.connector in (None, record.connector_id) and rule.matches.found_in(text) and rule.event_type is None:
            yield f'its message matches "{rule.matches.pattern}", of [[rules.patterns]]'
    yield "its text says that another sync was at work, which is no failure"


def _failure(record: Record, known: Known, state: SourceState) -> str:
    """A failure that is not the first of its kind in its run, or older than what was ever read."""
    what = classify(record, known.rules)
    first = next((e for e in known.facts.run_events if what and e.event.event_type is what.event_type), None)
    if first is not None:
        return _counted(first, known)
    if known.facts.run is not None and known.facts.run.failures:
        return f"counted into its run, which has {count(known.facts.run.failures, 'failing row')}"
    at = moment(record)
    if at is None or at <= state.started_at:
        since, start = local(state.started_at), known.source.start
        begin = start if isinstance(start, str) else format_duration(start)
        return (
            f'older than what is told: reading this source began at {since} (start = "{begin}"), and it was not among '
            f"the rows that were watched as they were open then (the newest {MOST_OPEN:,})"
        )
    return "it was read, but nothing more is known of it: what it led to may have been removed since"


def _counted(first: EventTrace, known: Known) -> str:
    event, run = first.event, known.facts.run
    by_now = f", with {count(run.failures, 'failing row')} by now" if run else ""
    return (
        f"counted into its run{by_now}: the run's first {event.event_type.value}, row {first.record_key}, "
        f"was told as {event.id}"
    )
