"""`notifyd reload`: tells the daemon to read its settings again, and waits for what comes of it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from pathlib import Path

from notifyd.cli.output import complain, say
from notifyd.clock import utc_now
from notifyd.errors import NotifydError
from notifyd.settings import SourceSettings, format_duration, load_around, sqlite_path
from notifyd.sources import SourceError, open_source
from notifyd.store import notice
from notifyd.store.lock import Lock
from notifyd.store.notice import Notice

PATIENCE = 60.0
"""Seconds to wait for the outcome."""

QUIET = 2.0
"""Seconds after which whoever waits is told so."""

_LOOK = 0.05


def reload(path: Path, patience: float = PATIENCE, quiet: float = QUIET) -> None:
    """Reload, and say how it went. NotifydError where no daemon runs, or it refused its settings."""
    around, _ = load_around(path)  # what is wrong in it is for the daemon to say
    state = sqlite_path(around.daemon.state)
    lock = Lock(state)
    if not lock.held():
        moved = "where `daemon.state` was changed, restart the daemon that runs on the old one"
        raise NotifydError(f"no daemon is running on the state DB {state}; `notifyd run` starts one; {moved}")
    before = notice.read(state)
    _signal(lock.pid)
    outcome = _outcome(lock, state, before, patience, quiet)
    if outcome.problems:
        refusal = "the daemon refused the settings, and goes on with the old ones:"
        raise NotifydError("\n".join([refusal, *outcome.problems]))
    say(f"the daemon, process {outcome.pid}, goes on with {path} as it is now")
    for source in around.sources:
        if trouble := _trouble(source):
            after = format_duration(source.unreachable_after)
            complain(f"warning: {trouble}; it is tried at every poll, and told after {after}")


def _trouble(source: SourceSettings) -> str | None:
    """Why a source cannot be read, as far as this user sees it: a wrong name of a table is no mistake of the file."""
    if not source.enabled or not source.url.resolved:
        return None
    with closing(open_source(source)) as opened:
        try:
            opened.newest(1, utc_now())
        except SourceError as error:
            return str(error)
    return None


def _signal(pid: str) -> None:
    lost = NotifydError(f"the daemon, process {pid}, is not within reach: does it run in another container?")
    if not pid.isdigit():  # -1 would be every process there is
        raise lost
    try:
        os.kill(int(pid), signal.SIGHUP)
    except PermissionError:
        how = "try sudo, or `systemctl reload notifyd`"
        raise NotifydError(f"you may not signal the daemon, process {pid}: {how}") from None
    except ProcessLookupError:
        raise lost from None


def _outcome(lock: Lock, state: Path, before: Notice | None, patience: float, quiet: float) -> Notice:
    """What the daemon says of the reload that it was just asked for."""
    seen = (before.pid, before.reloads) if before else (0, 0)
    began = time.monotonic()
    said = False
    while time.monotonic() < began + patience:
        now = notice.read(state)
        if now and (now.pid, now.reloads) != seen and now.reloads:
            return now
        if not lock.held():
            raise NotifydError("the daemon ended meanwhile; its log says why")
        if not said and time.monotonic() > began + quiet:
            said = True
            complain(f"waiting for the daemon, process {lock.pid}, to take on the settings …")
        time.sleep(_LOOK)
    raise NotifydError(f"the daemon has not said within {patience:g} s what came of it; its log may")
