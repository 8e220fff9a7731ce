"""Each sync log: can it be read, are its rows understood, and does its clock agree with ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

from notifyd.cli.doctor.finding import Finding, Level
from notifyd.cli.output import count
from notifyd.clock import utc_now
from notifyd.model import Record, Status
from notifyd.settings import Settings, SourceSettings, format_duration
from notifyd.sources import SetAside, SourceError, open_source
from notifyd.sources.source import Source

ROWS = 20
AHEAD = timedelta(minutes=2)
AREA = "Sources"


def findings(settings: Settings) -> Iterator[Finding]:
    """Of every source that is enabled."""
    now = utc_now()
    for source in settings.sources:
        if not source.enabled:
            yield Finding(AREA, Level.NOTE, f"{source.name}: is not enabled, so it is not read")
        elif not source.url.resolved:
            yield Finding(AREA, Level.NOTE, f"{source.name}: not looked at, as its url is a secret of the unit")
        else:
            yield from _source(source, now)


def _source(settings: SourceSettings, now: datetime) -> Iterator[Finding]:
    with closing(open_source(settings)) as source:
        try:
            found = [*_about(source, now), *_statuses(source), *_rows(source, now)]
        except SourceError as error:
            do = "may notifyd's user read it? systemd/README.md, “A log that belongs to another account”"
            yield Finding(AREA, Level.PROBLEM, str(error), do)
            return
    yield from found
    if not found:
        yield Finding(AREA, Level.OK, f"{settings.name}: can be read, and its newest rows are understood")


def _about(source: Source, now: datetime) -> Iterator[Finding]:
    for warning in source.about(None, now).warnings:
        do = "set both by NTP" if "clock" in warning else "make that index"
        yield Finding(AREA, Level.WARNING, f"{source.settings.name}: {warning}", do)


def _statuses(source: Source) -> Iterator[Finding]:
    for raw, (rows, status) in source.raw_statuses().items():
        if status is Status.UNMAPPED:
            value = "NULL" if raw is None else f'"{raw}"'
            text = f"the status {value} of {count(rows, 'row')} is unmapped, and counts for nothing"
            yield Finding(AREA, Level.WARNING, f"{source.settings.name}: {text}", "list it under [sources.statuses]")


def _rows(source: Source, now: datetime) -> Iterator[Finding]:
    newest = [row for _, row in source.newest(ROWS, now)]
    for row in (row for row in newest if isinstance(row, SetAside)):
        text = f"{source.settings.name}: the row {row.key} would be set aside: {row.text}"
        yield Finding(AREA, Level.WARNING, text, "map its columns as they are under [sources.columns]")
        break
    ahead = max((moment - now for row in newest if isinstance(row, Record) for moment in _moments(row)), default=None)
    if ahead is not None and ahead > AHEAD:
        shown = format_duration(timedelta(seconds=round(ahead.total_seconds())))
        text = f"{source.settings.name}: its newest row is {shown} in our future"
        yield Finding(
            AREA, Level.WARNING, text, "its times are in another zone: say which with `timezone`; or a clock is wrong"
        )


def _moments(row: Record) -> Iterator[datetime]:
    yield from (moment for moment in (row.finished_at, row.occurred_at, row.started_at) if moment)
