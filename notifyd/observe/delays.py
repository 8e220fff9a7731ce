"""How late something comes that should come at a known time: counted by how late, in seconds."""

from __future__ import annotations

from bisect import bisect_left

BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Delays:
    """`counts[i]` are those up to BOUNDS[i], but longer than the bound before; the last are longer than all."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one; what comes early is not late."""
        late = max(seconds, 0.0)
        self.counts[bisect_left(BOUNDS, late)] += 1
        self.sum += late
