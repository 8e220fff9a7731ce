"""Who may be called."""

from typing import Protocol


class Guard(Protocol):
    """Asked before each request whether its host may be called."""

    def check(self, host: str) -> None:
        """Raise Reject where `host`, a name or an address without brackets, may not be called."""
        ...
