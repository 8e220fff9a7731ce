"""The circuit breaker of one config: it opens when most attempts fail, or the target itself refuses two in a row, and
closes at the first that gets through.

    closed ──most of the newest attempts failed──► open ──its pause is over──► half-open: one attempt, a probe
       ▲                                            ▲                               │ failed: a longer pause
       └────────────── anything was sent ───────────┴───────────────────────────────┘

A dead endpoint with thousands of deliveries waiting then costs the others next to nothing, and one that rejects
everything costs few deliveries their life. What is tried again and when is not decided here: `retry.py` does.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

REMEMBERED = 20
"""The newest attempts that count."""

MINIMUM = 5
"""Attempts that must be known before it opens."""

SHARE = 0.5
"""The share of them that failed, at which it opens."""

REFUSALS = 2
"""Attempts in a row that were refused for what the target is, at which it opens: each costs a delivery its life."""

REFUSING = frozenset({401, 403, 404, 410})
"""Statuses of a rejection that is about the target, gone or closed to us, and so meets every message alike."""

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=30)
"""How long after a failed probe the next one waits: twice as long each time, but no longer than this."""

SENT, FAILED, REFUSED = "s", "f", "r"


class Standing(enum.StrEnum):
    """What the breaker lets through: all, nothing, or one probe at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """See the module's docstring. `outcomes` are the newest attempts, the oldest first, a letter each; `probe_at` is
    when the next probe may begin, and `probes` counts those that failed, both since it opened."""

    outcomes: str = ""
    opened_at: datetime | None = None
    probe_at: datetime | None = None
    probes: int = 0

    @property
    def failed(self) -> int:
        """How many of the newest attempts did not get through."""
        return len(self.outcomes) - self.outcomes.count(SENT)

    def standing(self, now: datetime) -> Standing:
        """What it lets through now."""
        if self.probe_at is None:
            return Standing.CLOSED
        return Standing.OPEN if now < self.probe_at else Standing.HALF_OPEN

    def after(self, outcome: str, began_at: datetime, now: datetime) -> Breaker:
        """The breaker once an attempt has ended so: SENT, FAILED or REFUSED. One that began before its pause
        was over is no probe."""
        if outcome == SENT:
            return Breaker(SENT) if self.probe_at else self._remembering(SENT)
        if self.probe_at is None:
            return self._remembering(outcome)._judged(now)
        return self if began_at < self.probe_at else self._probed(now)

    def _remembering(self, outcome: str) -> Breaker:
        return replace(self, outcomes=(self.outcomes + outcome)[-REMEMBERED:])

    def _judged(self, now: datetime) -> Breaker:
        mostly = len(self.outcomes) >= MINIMUM and self.failed >= len(self.outcomes) * SHARE
        if not mostly and not self.outcomes.endswith(REFUSED * REFUSALS):
            return self
        return replace(self, opened_at=now, probe_at=now + FIRST_PAUSE)

    def _probed(self, now: datetime) -> Breaker:
        pause = min(FIRST_PAUSE * 2 ** min(self.probes + 1, 16), LONGEST_PAUSE)
        return replace(self, probes=self.probes + 1, probe_at=now + pause)
