"""When a failed delivery is tried again, and when it has been tried enough."""

from __future__ import annotations

from datetime import datetime, timedelta

WAITS: tuple[timedelta, ...] = tuple(timedelta(seconds=s) for s in (2, 5, 15, 60, 300, 900, 3600))
"""The waits between attempts; the last is repeated until the plan is over."""

DAY = timedelta(hours=24)
"""How long a plan lasts unless its config says otherwise."""

JITTER = 0.2
"""A wait is stretched by up to this share, so that many deliveries do not return at once."""


def next_attempt(
    attempt: int,
    first_at: datetime,
    now: datetime,
    jitter: float,
    after: float | None = None,
    lasts: timedelta = DAY,
) -> datetime | None:
    """When to try again after attempt number `attempt` (1 = the first) failed; None: never, it is dead.

    `jitter` is in [0, 1). The answer is never before now + `after` seconds (the receiver's Retry-After)
    and never later than `lasts` after `first_at`.
    """
    wait = WAITS[min(attempt, len(WAITS)) - 1] * (1 + JITTER * jitter)
    if after is not None:
        wait = max(wait, timedelta(seconds=min(after, lasts.total_seconds() * 2)))
    due = now + wait
    return due if due <= first_at + lasts else None
