"""`notifyd doctor`: everything around the daemon, and of what is not well, what to do.

around.py     the settings file, the daemon, the disk, permissions
state.py      the state DB: whole, its schema, its books
sources.py    each sync log: can it be read, and is it understood
channels.py   each config: does somebody answer where it sends, without sending
smells.py     settings that are right, and yet not what anybody wants
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from notifyd.cli.doctor import around, channels, smells, sources, state
from notifyd.cli.doctor.finding import Finding, Level
from notifyd.cli.output import count, heading, print_json, say
from notifyd.errors import NotifydError
from notifyd.settings import Settings, SettingsError, load
from notifyd.settings.load import load_around

_MARKS = {Level.OK: "✓", Level.NOTE: "·", Level.WARNING: "!", Level.PROBLEM: "✗"}


def doctor(path: Path, *, as_json: bool) -> None:
    """Look at everything. Raises NotifydError where something is a problem, so that a script can tell."""
    found: list[Finding] = []
    shown = ""
    for finding in _look(path):
        found.append(finding)
        if not as_json:
            if finding.area != shown:
                heading(finding.area)
                shown = finding.area
            _show(finding)
    problems, warnings = (_number(found, level) for level in (Level.PROBLEM, Level.WARNING))
    if as_json:
        print_json({"items": [finding.json() for finding in found], "problems": problems, "warnings": warnings})
    else:
        say(f"\n{count(problems, 'problem')}, {count(warnings, 'warning')}".strip())
    if problems:
        raise NotifydError(f"{count(problems, 'problem')} found")


def _look(path: Path) -> Iterator[Finding]:
    settings, mistakes = _loaded(path)
    yield from around.settings_file(path, settings, mistakes)
    yield from around.daemon(settings)
    yield from around.disk(settings)
    yield from state.findings(settings)
    yield from sources.findings(settings)
    if mistakes:
        yield Finding("Channels", Level.NOTE, "not looked at, as the settings file has mistakes")
        return
    yield from channels.findings(settings)
    yield from smells.findings(settings)


def _loaded(path: Path) -> tuple[Settings, list[str]]:
    """The settings, and what is wrong with the file; then without secrets, and without what is wrong."""
    try:
        return load(path, outside_unit=True), []
    except SettingsError as error:
        return load_around(path)[0], str(error).splitlines()


def _show(finding: Finding) -> None:
    say(f"{_MARKS[finding.level]} {finding.text}")
    if finding.do:
        say(f"  → {finding.do}")


def _number(found: list[Finding], level: Level) -> int:
    return sum(finding.level is level for finding in found)
