"""The notice beside the state DB: what the daemon that runs says of itself to the commands. It holds no secret."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

_OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True)
class Notice:
    """`reloads` counts what was asked for, `problems` are those of the last one, and times are RFC 3339 in UTC.

    `outline` are the settings in use, as `notifyd.settings.outline` writes them.
    """

    pid: int
    started_at: str
    reloads: int = 0
    reloaded_at: str = ""
    problems: tuple[str, ...] = ()
    outline: Mapping[str, str] = field(default_factory=dict)


def path_of(state: Path) -> Path:
    """Where the notice of the daemon on this state DB is."""
    return state.with_name(f"{state.name}.daemon.json")


def post(state: Path, notice: Notice) -> None:
    """Put it up in the place of the old one. OSError where the folder cannot be written."""
    path = path_of(state)
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 (a descriptor has no Path)
        json.dump(asdict(notice), file)
    draft.replace(path)


def read(state: Path) -> Notice | None:
    """What it says; None where there is none that can be read. Whether that daemon is alive, its lock says."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(path_of(state).read_bytes())
        return Notice(**{**found, "problems": tuple(found["problems"])})
    return None
