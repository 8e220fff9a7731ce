"""What can be wrong with the state DB."""

from __future__ import annotations

import shutil
from pathlib import Path

from notifyd.errors import NotifydError


class StoreError(NotifydError):
    """The state DB could not be opened or used; the message says where it is and what to do."""


class StateUnusable(StoreError):
    """No restart mends it, a person must: it is broken, newer than this notifyd, or gone."""


class StateNotNow(StoreError):
    """It passes, or somebody makes room: whoever waits and tries again comes through."""


_BROKEN = ("malformed", "not a database")
"""SQLite's words for a file that it cannot make sense of (SQLITE_CORRUPT, SQLITE_NOTADB)."""

_PASSES = {
    "is full": "free some room there; nothing is lost, and it goes on by itself",
    "No space left": "free some room there; nothing is lost, and it goes on by itself",
    "is locked": "another process holds it, which `fuser -v` on it names; nothing is lost, and it goes on by itself",
}


_NO_ROOM = 100_000
"""Bytes of a file system that has fewer is full: SQLite says of some files of its own only "disk I/O error" then."""


def refusal(path: Path, error: Exception, what: str = "the state DB") -> StoreError:
    """What a library says of the file at `path`, with what to do, as the error that says whether waiting helps."""
    said = plain(error)
    if "disk I/O error" in said and _free(path) < _NO_ROOM:
        said = "database or disk is full"
    text = f"{what} {path} cannot be used: {said}"
    if any(words in said for words in _BROKEN):
        return StateUnusable(f"{text}; `notifyd restore` a backup, or repair it (sqlite3's .recover)")
    for words, do in _PASSES.items():
        if words in said:
            return StateNotNow(f"{text}: {do}")
    return StoreError(text)


def _free(path: Path) -> int:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return _NO_ROOM


def plain(error: Exception) -> str:
    """What a library's error says to a person."""
    if isinstance(error, PermissionError):
        return f"permission denied; it must be writable by the user that runs notifyd ({error.filename})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})"
    return str(error)
