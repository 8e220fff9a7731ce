"""How many deliveries a config has claimed at a time, so that a claim, which is a transaction, pays for many.

Claimed ahead is what will be attempted while the next turn of the sender runs. It grows with what was sent since
the last turn, and the first attempt that fails takes all of it back: nothing waits, leased, for a dead endpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST = 500
"""As many attempts as one transaction records."""


@dataclass(slots=True)
class Pace:
    """Of one config. `falls` counts its failures: what was claimed before one, and has not begun, is not to begin."""

    sent: int = 0  # since the last turn
    ahead: int = 0
    falls: int = 0

    def ended(self, *, sent: bool) -> None:
        """An attempt has ended."""
        if sent:
            self.sent += 1
        else:
            self.sent = self.ahead = 0
            self.falls += 1

    def turned(self) -> None:
        """The sender takes a turn."""
        self.sent, self.ahead = 0, min(2 * self.sent, MOST)

    def most(self, at_once: int) -> int:
        """How many may be claimed and not yet ended, where `at_once` are attempted at a time."""
        return max(at_once, self.ahead)
