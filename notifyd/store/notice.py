"""The notice beside the state DB: what the daemon that runs says of itself to the commands. It holds no secret."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

_OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True)
class Notice:
    """`reloads` counts what was asked for, `problems` are those of the last one, and times are RFC 3339 in UTC.

    `troubles` are what is wrong with the daemon or its state DB now, `outline` the settings in use, as
    `notifyd.settings.outline` writes them.
    """

    pid: int
    started_at: str
    reloads: int = 0
    reloaded_at: str = ""
    problems: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    outline: Mapping[str, str] = field(default_factory=dict)


def path_of(state: Path) -> Path:
    """Where the notice of the daemon on this state DB is."""
    return state.with_name(f"{state.name}.daemon.json")


def post(state: Path, notice: Notice) -> None:
    """Put it up in the place of the old one. OSError where the folder cannot be written.

    On a full disk it is written over the old one, as far as that has room: the outline is the first to go.
    """
    path = path_of(state)
    draft = path.with_suffix(".new")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 (a descriptor has no Path)
            json.dump(asdict(notice), file)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        if error.errno != errno.ENOSPC or not _overwritten(path, notice):
            raise


def _overwritten(path: Path, notice: Notice) -> bool:
    """Whether it fits where the old one is: in one write of as many bytes, which needs no room."""
    with path.open("r+b", buffering=0) as file:
        room = len(file.read())
        text = json.dumps(asdict(replace(notice, outline={}))).encode()
        file.seek(0)
        return len(text) <= room and file.write(text.ljust(room)) == room


def read(state: Path) -> Notice | None:
    """What it says; None where there is none that can be read. Whether that daemon is alive, its lock says."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(path_of(state).read_bytes())
        lists = {key: tuple(found[key]) for key in ("problems", "troubles")}
        return Notice(**{**found, **lists})
    return None
