"""`notifyd status`: is a daemon alive, where does everything stand, and do the books balance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from notifyd import fast
from notifyd.cli.listings import ATTEMPT_COLUMNS, attempt_cells
from notifyd.cli.options import read_settings
from notifyd.cli.output import Cell, count, heading, local, print_json, print_table, say
from notifyd.cli.records import named
from notifyd.clock import utc_now
from notifyd.model import rfc3339
from notifyd.settings import Settings
from notifyd.store import audit, conditions, notice, reads
from notifyd.store.audit import ConfigBook, OpenStreak, SourceBook, Status
from notifyd.store.conditions import Condition
from notifyd.store.lanes import LaneState
from notifyd.store.lock import Lock
from notifyd.store.notice import Notice


def status(path: Path, *, as_json: bool) -> None:
    """Show where everything stands."""
    settings = read_settings(path)
    with reads.opened(settings.daemon.state) as db:
        found, lock, state = audit.status(db, utc_now()), Lock(db.path), db.path
        opened = _opened(conditions.listing(db), found, settings)
    said = _said(lock, state)
    if as_json:
        print_json({**_json(found, state, said, alive=lock.held()), "open": _opened_json(opened)})
        return
    say(f"{_daemon(lock)} · settings {path} · state {state}")
    say(f"it sends by {fast.said(fast.chosen(settings.daemon.fast))}")
    for trouble in said.troubles:
        say(f"trouble: {trouble}")
    for problem in said.problems:
        say(f"the settings were refused, the old ones go on: {problem}")
    _show_sources(found)
    _show_configs(found)
    _show_balance(found)
    failing = [lane for lane in found.lanes if lane.failing_since or lane.held_until]
    _show_some(_LANE_COLUMNS, list(map(_lane_cells, failing)), "Failing channels, and those that were asked to wait")
    worst = sorted(found.streaks, key=lambda streak: -streak.failed_runs)
    _show_some(_STREAK_COLUMNS, list(map(_streak_cells, worst)), "Failing schedules, the worst first")
    _show_some(_OPEN_COLUMNS, [list(each.values()) for each in opened], "What is open, until it recovers")
    if opened or worst:
        say("More of each: `notifyd why` with a schedule, a run, or what it was told as")
    print_table(ATTEMPT_COLUMNS, map(attempt_cells, found.errors), title="The newest attempts that failed")


SHOWN = 10
"""Rows of each list; a day on which everything fails must not hide the rest."""


def _show_some(columns: Sequence[str], rows: list[list[Cell]], title: str) -> None:
    print_table(columns, rows[:SHOWN], title=title)
    if len(rows) > SHOWN:
        say(f"… and {len(rows) - SHOWN} more: notifyd status --json")


_OPEN_COLUMNS = ("source", "what", "since", "told as", "its source")


def _opened(listed: list[Condition], found: Status, settings: Settings) -> list[dict[str, Cell]]:
    """What is open; and whether its source is read, as otherwise nothing can recover."""
    used = {source.id: source.enabled for source in settings.sources}
    words = {True: "is read", False: "is disabled: it waits", None: "was removed: it ends when a daemon starts"}
    failing = {source.source_id for source in found.sources if source.error}
    return [
        {
            "source": each.source,
            "title": each.event.title,
            "since": each.event.timestamp,
            "event": each.event.id,
            "state": "cannot be read: it waits"
            if used.get(each.source_id) and each.source_id in failing
            else words[used.get(each.source_id)],
        }
        for each in listed
    ]


def _opened_json(opened: list[dict[str, Cell]]) -> list[dict[str, Cell]]:
    return [
        {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in each.items()}
        for each in opened
    ]


def _daemon(lock: Lock) -> str:
    if not lock.held():
        return "no daemon is running, so nobody is told of anything"
    return f"the daemon is running, process {lock.pid}"


def _said(lock: Lock, state: Path) -> Notice:
    """What the daemon that runs says of itself: what is wrong with it, and with the settings that it was to take on."""
    said = notice.read(state) if lock.held() else None
    return said if said and str(said.pid) == lock.pid else Notice(0, "")


def _show_sources(found: Status) -> None:
    print_table(
        ("source", "read", *audit.ROW_ENDS, "events", "untold", "balance"),
        map(_source_cells, found.source_books),
        title="Sources: what each row that was read came to",
        empty="no source was read yet",
    )
    for source in found.sources:
        if source.error:
            say(f"{source.name} cannot be read since {local(source.failing_since)}: {source.error}")


def _source_cells(book: SourceBook) -> list[Cell]:
    ends = [book.counts.get(name) or None for name in (*audit.ROW_ENDS, "events", "untold")]
    return [book.name, book.counts.get("read", 0), *ends, _balance(book.differences)]


def _show_configs(found: Status) -> None:
    print_table(
        ("config", "offered", *audit.EVENT_ENDS, "closing", "tests", *audit.STATES, "pruned", "balance"),
        [_config_cells(book) for book in found.config_books if book.saved or book.differences],
        title="Configs: what each event that was offered came to, and where those that were planned are",
        empty="no notification config is known yet",
    )
    written = " · ".join(f"{number} {state}" for state, number in found.deliveries.items()) or "none yet"
    if found.config_books:
        say(LEGEND)
    heading(f"Deliveries: {written}")
    if found.given_up:
        do = "`notifyd history --failed` has the errors; once mended: `notifyd retry --state dead`"
        say(f"{count(found.given_up, 'delivery')} given up: {do}")
    if tests := found.deliveries.get("dead", 0) - found.given_up:
        say(f"{count(tests, 'test')} that failed: nothing is left to do about {'it' if tests == 1 else 'them'}")


def _config_cells(book: ConfigBook) -> list[Cell]:
    ends = [book.counts.get(name) or None for name in (*audit.EVENT_ENDS, "closing_planned", "test_planned")]
    states = [book.members.get(state) or None for state in audit.STATES]
    pruned = book.counts.get("pruned")
    return [book.name, book.counts.get("offered", 0), *ends, *states, pruned, _balance(book.differences)]


LEGEND = (
    "in balance: offered = dropped (a filter said no) + folded (part of a streak that was told)"
    " + held (a filter said later) + planned;"
    " planned, closing (ends of what was told) and tests = the states of their deliveries + pruned;"
    " gathering: a digest until its window ends"
)
"""What the columns mean, where they are seen."""

_LANE_COLUMNS = ("config", "breaker", "failed", "since", "next try", "told as", "why")


def _lane_cells(lane: LaneState) -> list[Cell]:
    failed = f"{lane.failed} of {lane.attempts}"
    next_try = max(filter(None, (lane.next_probe_at, lane.held_until)), default=None)
    why = lane.error or (lane.held_until and "its receiver asked to wait (Retry-After)")
    return [lane.name, lane.breaker, failed, lane.failing_since, next_try, lane.told_as, why]


_STREAK_COLUMNS = ("source", "schedule", "connector", "entity", "failed runs", "since", "newest run", "told as")


def _streak_cells(streak: OpenStreak) -> list[Cell]:
    where: list[Cell] = [streak.source, named(streak.schedule), streak.connector_id, streak.entity_type]
    told = streak.announced or "each failure by itself: too few in a row"
    return [*where, streak.failed_runs, streak.since, streak.newest_run, told]


def _show_balance(found: Status) -> None:
    heading("The books do not balance" if found.differences else "The books balance")
    for difference in found.differences:
        say(difference)
    if found.untold:
        say(f"{count(found.untold, 'event')} told to nobody, as every config dropped it: see `notifyd check`")


def _balance(differences: list[str]) -> str:
    return "see below" if differences else "balanced"


def _json(found: Status, state: Path, said: Notice, *, alive: bool) -> dict[str, Any]:
    return {
        "daemon": {
            "running": alive,
            "state": str(state),
            "troubles": list(said.troubles),
            "settings_refused": list(said.problems),
        },
        "sources": [reads.as_json(source) for source in found.sources],
        "source_books": [asdict(book) for book in found.source_books],
        "config_books": [asdict(book) for book in found.config_books],
        "deliveries": dict(found.deliveries),
        "given_up": found.given_up,
        "streaks": [reads.as_json(streak) for streak in found.streaks],
        "lanes": [reads.as_json(lane) for lane in found.lanes],
        "untold": found.untold,
        "errors": [reads.as_json(attempt) for attempt in found.errors],
        "balanced": not found.differences,
        "differences": found.differences,
    }
