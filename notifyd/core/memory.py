"""What detection remembers of a source, and what one fold changed of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from notifyd.model import Finding, Run, Streak, Watch

RunKey = tuple[str, str]  # schedule, run id


@dataclass(slots=True)
class Memory:
    """What detection remembers of one source; at least what the inputs at hand touch.

    `watched` holds the rows that are looked up again, by key, in the order in which they came to their state.
    """

    runs: dict[RunKey, Run] = field(default_factory=dict)
    streaks: dict[str, Streak] = field(default_factory=dict)
    watched: dict[str, Watch] = field(default_factory=dict)

    def after(self, detected: Detected) -> Memory:
        """The memory once `detected` is taken in."""
        changed = detected.unwatch | detected.watch.keys()
        return Memory(
            {key: run for key, run in {**self.runs, **detected.runs}.items() if key not in detected.forgotten},
            {name: s for name, s in {**self.streaks, **detected.streaks}.items() if name not in detected.expired},
            {key: watch for key, watch in self.watched.items() if key not in changed} | detected.watch,
        )


@dataclass(slots=True)
class Detected:
    """What a fold found and changed. `counts` are the source's books: read, success, failure, first_errors …"""

    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    runs: dict[RunKey, Run] = field(default_factory=dict)
    streaks: dict[str, Streak] = field(default_factory=dict)
    forgotten: set[RunKey] = field(default_factory=set)
    expired: set[str] = field(default_factory=set)  # schedules that are forgotten
    watch: dict[str, Watch] = field(default_factory=dict)
    unwatch: set[str] = field(default_factory=set)
    set_aside: list[tuple[str, str]] = field(default_factory=list)  # (key, what was wrong)

    def then(self, later: Detected) -> Detected:
        """What one fold came to that took in both: `later` is of a fold over the memory after this one."""
        watched_anew = later.unwatch | later.watch.keys()
        return Detected(
            [*self.findings, *later.findings],
            _sum(self.counts, later.counts),
            {key: run for key, run in self.runs.items() if key not in later.forgotten} | later.runs,
            {name: streak for name, streak in self.streaks.items() if name not in later.expired} | later.streaks,
            (self.forgotten - later.runs.keys()) | later.forgotten,
            (self.expired - later.streaks.keys()) | later.expired,
            {key: watch for key, watch in self.watch.items() if key not in watched_anew} | later.watch,
            (self.unwatch - later.watch.keys()) | later.unwatch,
            [*self.set_aside, *later.set_aside],
        )


def _sum(one: Counter[str], other: Counter[str]) -> Counter[str]:
    """Counters, but with what is negative: a row that ran has one open row less."""
    both = one.copy()
    both.update(other)
    return both
