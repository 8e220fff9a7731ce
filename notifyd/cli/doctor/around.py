"""What is around the daemon: its settings file, whether it runs, its disk, and who may read what it keeps."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from notifyd import fast
from notifyd.cli.doctor.finding import Finding, Level
from notifyd.cli.person import user
from notifyd.settings import Settings, sqlite_path
from notifyd.store import notice
from notifyd.store.lock import Lock

MEGABYTE = 1_000_000
LITTLE, HARDLY_ANY = 500 * MEGABYTE, 50 * MEGABYTE

_READABLE_BY_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def settings_file(path: Path, settings: Settings, mistakes: Sequence[str]) -> Iterator[Finding]:
    """Mistakes, plugins that cannot be used, secrets that everybody can read."""
    area = "Settings"
    for mistake in mistakes:
        yield Finding(area, Level.PROBLEM, mistake, "mend the file; `notifyd check` tries it again")
    for problem in settings.registry.problems:
        yield Finding(area, Level.WARNING, str(problem), "`notifyd plugins` lists what there is")
    for missing in settings.not_checked:
        yield Finding(area, Level.NOTE, str(missing))
    if path.stat().st_mode & stat.S_IROTH:
        do = f"chmod o-rwx {path}, with a group that notifyd is in; or keep the secrets outside of it"
        yield Finding(area, Level.WARNING, f"everybody can read {path}, which may hold secrets", do)
    if not mistakes:
        yield Finding(area, Level.OK, f"{path} is right")


def daemon(settings: Settings) -> Iterator[Finding]:
    """Whether one runs, and whether it took on the settings as they are."""
    path = sqlite_path(settings.daemon.state)
    lock = Lock(path)
    if not lock.held():
        do = "systemctl start notifyd; if it does not stay, journalctl -u notifyd -p err says why"
        yield Finding("Daemon", Level.PROBLEM, "no daemon is running, so nobody is told of anything", do)
        return
    sends_by = fast.said(fast.chosen(settings.daemon.fast))
    yield Finding("Daemon", Level.OK, f"it is running, process {lock.pid}, and sends by {sends_by}")
    said = notice.read(path)
    for problem in said.problems if said else ():
        do = "mend the file, then `notifyd reload`"
        yield Finding("Daemon", Level.PROBLEM, f"the last reload was refused, and older settings go on: {problem}", do)


def disk(settings: Settings) -> Iterator[Finding]:
    """Room for the state, and who may use its folder and files."""
    path = sqlite_path(settings.daemon.state)
    folder = path.parent
    if not folder.is_dir():
        yield Finding(
            "Disk", Level.PROBLEM, f"there is no folder {folder}", "the daemon makes it where it may: start it"
        )
        return
    yield from _room(path)
    yield from _access(folder)
    for file in (path, path.with_name(path.name + ".key")):
        if file.exists() and file.stat().st_mode & _READABLE_BY_OTHERS:
            text = f"others than its owner may read {file}, which holds what people are told, or keys"
            yield Finding("Disk", Level.WARNING, text, f"chmod 600 {file}")


def _room(path: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(path.parent).free
    size = path.stat().st_size if path.exists() else 0
    text = f"{free // MEGABYTE} MB are free in {path.parent}; the state DB has {size / MEGABYTE:.0f} MB"
    do = "free some; or a shorter [daemon] retention, and then `notifyd vacuum` while it is stopped"
    if free < HARDLY_ANY:
        yield Finding("Disk", Level.PROBLEM, text, do)
    elif free < max(LITTLE, size):
        yield Finding("Disk", Level.WARNING, f"{text}: too little for an upgrade's copy and a burst of failures", do)
    else:
        yield Finding("Disk", Level.OK, text)


def _access(folder: Path) -> Iterator[Finding]:
    me, owner = os.getuid(), folder.stat().st_uid
    if not os.access(folder, os.W_OK | os.X_OK):
        text = f"{user(me)} may not write {folder}, which belongs to {user(owner)}"
        yield Finding("Disk", Level.PROBLEM, text, f"run this, and the daemon, as {user(owner)}; or chown the folder")
    elif me != owner:
        text = f"this runs as {user(me)}, and {folder} belongs to {user(owner)}: what it can read, the daemon may not"
        yield Finding("Disk", Level.NOTE, text, f"sudo -u {user(owner)} notifyd doctor")
    strangers = [file for file in sorted(folder.glob("*.db*")) if file.stat().st_uid != owner]
    if strangers:
        text = f"{', '.join(file.name for file in strangers)} in {folder} do not belong to {user(owner)}"
        yield Finding("Disk", Level.PROBLEM, text, f"chown {user(owner)} {folder}/*")
