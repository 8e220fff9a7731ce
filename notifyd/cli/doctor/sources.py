"""Each sync log: can it be read, are its rows understood, and does its clock agree with ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

from notifyd.cli import records
from notifyd.cli.doctor.finding import Finding, Level
from notifyd.clock import utc_now
from notifyd.model import Status
from notifyd.settings import Settings, SourceSettings
from notifyd.sources import SetAside, SourceError, open_source
from notifyd.sources.source import Source

ROWS = 20
AREA = "Sources"
_MEND = {"the clock of": "set both by NTP", "no index": "make that index"}


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
        do = next((do for word, do in _MEND.items() if word in warning), "mend it in its [[sources]]")
        yield Finding(AREA, Level.WARNING, f"{source.settings.name}: {warning}", do)


def _statuses(source: Source) -> Iterator[Finding]:
    for raw, (rows, status) in source.raw_statuses().items():
        if status is Status.UNMAPPED:
            text = f"{source.settings.name}: {records.unmapped(raw, rows)}"
            yield Finding(AREA, Level.WARNING, text, records.map_it(raw))


def _rows(source: Source, now: datetime) -> Iterator[Finding]:
    newest = [row for _, row in source.newest(ROWS, now)]
    for row in (row for row in newest if isinstance(row, SetAside)):
        text = f"{source.settings.name}: the row {row.key} would be set aside: {row.text}"
        yield Finding(AREA, Level.WARNING, text, "map its columns as they are under [sources.columns]")
        break
