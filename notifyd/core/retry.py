"""When a failed delivery is tried again, and when it has been tried enough."""

from __future__ import annotations

from datetime import datetime, timedelta

DELAYS: tuple[timedelta, ...] = (
    *(timedelta(seconds=s) for s in (2, 5, 15, 60, 300, 900)),
    *(timedelta(hours=1) for _ in range(23)),
)
"""The waits between attempts: about a day in all. The last is followed by death."""

HORIZON = timedelta(hours=26)
"""Nothing is tried again later than this after its first attempt, jitter and Retry-After included."""

JITTER = 0.2
"""A wait is stretched by up to this share, so that many deliveries do not return at once."""


def next_attempt(
    attempt: int, first_at: datetime, now: datetime, jitter: float, after: float | None = None
) -> datetime | None:
    """When to try again after attempt number `attempt` (1 = the first) failed; None: never, it is dead.

    `jitter` is in [0, 1). The answer is never before now + `after` seconds (the receiver's Retry-After)
    and never later than HORIZON after `first_at`.
    """
    if attempt > len(DELAYS):
        return None
    wait = DELAYS[attempt - 1] * (1 + JITTER * jitter)
    if after is not None:
        wait = max(wait, timedelta(seconds=min(after, HORIZON.total_seconds() * 2)))
    due = now + wait
    return due if due <= first_at + HORIZON else None
