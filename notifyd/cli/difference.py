"""`notifyd check --diff`: what a reload would change."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from notifyd.cli.output import count, local, print_json, say
from notifyd.errors import NotifydError
from notifyd.settings import load, sqlite_path
from notifyd.settings.outline import SALT, Change, changes, outline
from notifyd.store import notice
from notifyd.store.lock import Lock
from notifyd.store.notice import Notice


def difference(path: Path, *, as_json: bool) -> None:
    """Show it key by key, secrets masked. NotifydError where no daemon runs; SettingsError where it would refuse."""
    settings = load(path, outside_unit=True)
    running = _running(sqlite_path(settings.daemon.state))
    after = outline(settings.document, settings.registry, running.outline.get(SALT))
    found = changes(running.outline, after)
    if as_json:
        print_json({"pid": running.pid, "changes": [change._asdict() for change in found]})
        return
    for change in found:
        say(_line(change))
    since = local(datetime.fromisoformat(running.reloaded_at or running.started_at))
    many = count(len(found), "key") if found else "nothing"
    say(f"a reload would change {many} of what the daemon, process {running.pid}, has been using since {since}")


def _running(state: Path) -> Notice:
    if not Lock(state).held():
        raise NotifydError(f"no daemon is running on the state DB {state}, so there is nothing to compare with")
    found = notice.read(state)
    if found is None or SALT not in found.outline:
        there = notice.path_of(state)
        raise NotifydError(f"the daemon does not say what it uses: {there} is not there, or you may not read it")
    return found


def _line(change: Change) -> str:
    if change.before is None:
        return f"+ {change.key} = {change.after}"
    if change.after is None:
        return f"- {change.key} = {change.before}"
    return f"~ {change.key}: {change.before} → {change.after}"
