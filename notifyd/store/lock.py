"""The file beside a state DB: who locks it is the one daemon, and it remembers that there was a state DB.

1234                      the process that locked it last
a state DB was made here  so that one that was deleted is not silently begun anew
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from notifyd.store.errors import StoreError, refusal

_LOOKS, _A_MOMENT = 10, 0.05
_MODE = 0o666  # less the umask
_WHAT = "the lock file"
_MADE = "a state DB was made here"


class Lock:
    """The file lock beside a state DB, where that really is. The kernel frees it with the process."""

    def __init__(self, path: Path) -> None:
        path = path.resolve() if path.is_symlink() else path
        self.path = path.with_name(path.name + ".lock")
        self._file: IO[str] | None = None

    def take(self) -> bool:
        """Try to become the one daemon; False if there is one already. StoreError where the file cannot be written."""
        try:
            file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, _MODE), "r+")
        except OSError as error:
            raise refusal(self.path, error, _WHAT) from None
        if not _locked(file):
            file.close()
            return False
        remembered = self._lines()[1:]
        try:  # over what is there, which needs no room on a full disk, and forgets nothing where it fails
            file.write("".join(f"{line}\n" for line in [str(os.getpid()), *remembered]))
            file.truncate()
        except OSError as error:
            with suppress(OSError):  # what it could not write it would try again
                file.close()
            raise refusal(self.path, error, _WHAT) from None
        self._file = file
        return True

    def release(self) -> None:
        """Let go. The file stays: removing it would race with the next daemon, and forget what it remembers."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def held(self) -> bool:
        """Whether a daemon is alive, as seen from another process."""
        try:
            with self.path.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    @property
    def pid(self) -> str:
        """The process that locked it last; empty where there was none."""
        return next(iter(self._lines()), "")

    def remember(self) -> None:
        """From now on it is known that there is a state DB."""
        if not self.remembers():
            with self.path.open("a") as file:
                file.write(f"{_MADE}\n" if self._lines() else f"0\n{_MADE}\n")

    def remembers(self) -> bool:
        """Whether there ever was a state DB."""
        return _MADE in self._lines()

    def taken_at(self) -> datetime:
        """When a daemon last began."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise refusal(self.path, error, _WHAT) from None


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep daemons from the state DB meanwhile. Raises StoreError where one runs."""
    lock = Lock(path)
    if not lock.take():
        raise StoreError(f"a notifyd runs on the state DB {path}: stop it first")
    try:
        yield
    finally:
        lock.release()


def _locked(file: IO[str]) -> bool:
    """Lock it. Who only looks whether a daemon is alive holds it too, but for less than a moment."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_A_MOMENT)
        else:
            return True
    return False
