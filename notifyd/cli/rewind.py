"""`notifyd sources rewind`: reads a log again from elsewhere, beside a running daemon or without one."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from notifyd.cli.options import named, read_settings
from notifyd.cli.output import count, print_json, say
from notifyd.cli.person import person
from notifyd.cli.rehearsal import Rehearsal, rehearse
from notifyd.clock import utc_now
from notifyd.core.rules import Origin, Rules
from notifyd.errors import NotifydError
from notifyd.settings import SourceSettings
from notifyd.sources import Source, Target, open_source, standing, target_of
from notifyd.store import cursors, reads
from notifyd.store.database import Database
from notifyd.store.lock import Lock
from notifyd.store.reads import SourceState

_TRIES = 20  # a busy daemon moves the cursor too


def rewind(path: Path, name: str, to: str, *, dry_run: bool, as_json: bool) -> None:
    """Move the cursor, and say what that comes to. Raises NotifydError where the log has no such place."""
    settings, now = read_settings(path), utc_now()
    source = named(settings, name)
    target, rules = target_of(to, source), settings.rules.detection()
    with reads.opened(settings.daemon.state) as db, closing(open_source(source)) as log:
        state = _state(db, source)
        cursor = log.rewound(state.cursor, target, now)
        before = _rehearse(db, log, state.cursor, rules, now, state.started_at)
        after = _rehearse(db, log, cursor, rules, now, state.started_at)
        if not dry_run:
            _move(db, log, to, target, now)
        alive = Lock(db.path).held()
    if as_json:
        print_json(_json(source, state.cursor, cursor, before, after, moved=not dry_run))
    else:
        _say(source, cursor, before, after, dry_run=dry_run, alive=alive)


def _state(db: Database, source: SourceSettings) -> SourceState:
    state = reads.source(db, source.id)
    if state is None:
        raise NotifydError(f'{source.name} was not read yet: its "start" says where it begins')
    return state


def _rehearse(db: Database, source: Source, cursor: str, rules: Rules, now: datetime, began: datetime) -> Rehearsal:
    settings = source.settings
    origin = Origin(settings.name, settings.id, rows=settings.rows, run_ends_after=settings.run_ends_after)
    return rehearse(db, source, cursor, rules, origin, now, began)


def _move(db: Database, source: Source, to: str, target: Target, now: datetime) -> None:
    """From wherever the daemon has come to meanwhile."""
    settings = source.settings
    for _ in range(_TRIES):
        old = _state(db, settings).cursor
        new = source.rewound(old, target, now)
        if cursors.move(db, settings.id, settings.name, old, new, to, person(), now):
            return
    raise NotifydError(f"the daemon reads {settings.name} too fast to be moved; nothing was changed, try again")


def _say(
    source: SourceSettings, cursor: str, before: Rehearsal, after: Rehearsal, *, dry_run: bool, alive: bool
) -> None:
    say(f"{source.name}: {'would be read on' if dry_run else 'is read on'} {_behind(cursor)}")
    say(_rows(before, after))
    new = ", ".join(f"{number} {event_type}" for event_type, number in sorted(after.new.items()))
    say(f"to be told, as filters and grouping have it: {new or 'nothing'}; what is known is not told again")
    if not dry_run:
        say("the daemon reads from there at its next poll" if alive else "once a daemon runs: none does now")


def _behind(cursor: str) -> str:
    stands = standing(cursor)
    if stands.begins:
        return "from its first row"
    dated = f" {stands.newest.astimezone():%F %T}" if stands.newest and stands.text == "time" else ""
    return f"behind {stands.text}{dated}"


def _rows(before: Rehearsal, after: Rehearsal) -> str:
    again = after.rows - before.rows
    if again < 0:
        failures = before.failures - after.failures
        return f"{count(-again, 'row')} not read yet, {failures} of them failures, are never read"
    unread = "0 not read yet" if not before.rows else f"{count(before.rows, 'row')} not read yet"
    return f"{count(again, 'row')} read again, and {unread}; {after.failures} of these are failures"


def _json(
    source: SourceSettings, old: str, new: str, before: Rehearsal, after: Rehearsal, *, moved: bool
) -> dict[str, Any]:
    return {
        "source": source.name,
        "from": standing(old).text,
        "to": standing(new).text,
        "moved": moved,
        "rows_not_read_before": before.rows,
        "rows": after.rows,
        "failures": after.failures,
        "new": dict(after.new),
    }
