"""What is wrong with a sync log."""

from __future__ import annotations

from collections.abc import Callable

from notifyd.errors import NotifydError


class SourceError(NotifydError):
    """A sync log could not be read: one line that says which, why, and how to mend it.

    `absent` is true where there is nothing to read yet (no file, an empty one, no such table), and
    `busy` where the same read may well succeed in a moment (a writer holds the lock).
    """

    def __init__(self, text: str, *, absent: bool = False, busy: bool = False) -> None:
        super().__init__(text)
        self.absent = absent
        self.busy = busy

    def of(self, source: str, hide: Callable[[str], str]) -> SourceError:
        """The same with the source's name before it. A database may quote what it stumbled over: it is hidden."""
        return SourceError(f'source "{source}": {hide(str(self))}', absent=self.absent, busy=self.busy)
