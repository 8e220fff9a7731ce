"""What can be wrong with the state DB."""

from __future__ import annotations

from notifyd.errors import NotifydError


class StoreError(NotifydError):
    """The state DB could not be opened or used; the message says where it is and what to do."""


class StateUnusable(StoreError):
    """No restart mends it, a person must: it is broken, newer than this notifyd, or gone."""


def plain(error: Exception) -> str:
    """What a library's error says to a person."""
    if isinstance(error, PermissionError):
        return f"permission denied; it must be writable by the user that runs notifyd ({error.filename})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})"
    return str(error)
