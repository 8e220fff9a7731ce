"""Which rows are looked up again: those that run, those of an unmapped status, and, for a while, those that ended.

A row that has ended may be run again in place; where nothing else shows it, it is looked up for as long as
`rewatch`. There is room for so many rows of each kind, and where there is no more, the oldest give way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from notifyd.core.memory import Detected, Memory
from notifyd.model import Record, Status, Watch

OPEN: Final = (Status.RUNNING, Status.RETRYING)

MOST_OPEN: Final = 50_000
"""With so many rows open, the oldest is given up for one more."""

MOST_SILENT: Final = 10_000
"""With so many rows open, the oldest is given up for one more if it was open for SILENT: nobody will ever end it."""

SILENT: Final = timedelta(days=7)
"""A queue may be long, but what was not begun or ended for so long was left behind by a runner that was killed."""

MOST_UNMAPPED: Final = 1_000
"""With so many rows of unmapped statuses watched, one more is only counted."""

MOST_ENDED: Final = 1_000
"""The most rows that are watched after they failed, and after any other end."""

MOST_AT_ONCE: Final = 1_000
"""The most rows of one look."""

_EVER_MORE_RARELY: Final = 100  # the next look is after a hundredth of the time that a row has been in its state
_RARELY: Final = timedelta(minutes=10)
_ENDED_RESTS: Final = timedelta(seconds=5)  # there may be thousands of them, and hardly one is run again
_NONE: Final = timedelta(0)
_SIGNS: Final = 10  # looks within the time after which a run without a heartbeat is stuck


Watcher = Callable[[Record, Status, Watch | None], None]


class Watching:
    """The working copy of the watched rows, while inputs are folded."""

    def __init__(self, memory: Memory, detected: Detected) -> None:
        self._known = memory.watched
        self._found = detected
        self._open: dict[str, None] = {}
        self._unmapped: dict[str, None] = {}
        self._failed: dict[str, None] = {}
        self._ended: dict[str, None] = {}
        self._later: dict[str, tuple[Record, Watcher]] = {}
        for key, watch in memory.watched.items():
            self._kind(watch)[key] = None

    def of(self, key: str) -> Watch | None:
        """As what the row is watched; None where it is not."""
        if key in self._later:
            self.settle()
        found = self._found
        return found.watch.get(key) or (None if key in found.unwatch else self._known.get(key))

    def knows(self, key: str) -> bool:
        """Whether the row is watched, or is going to be."""
        return key in self._later or key in self._found.watch or (key in self._known and key not in self._found.unwatch)

    def drop(self, key: str, watch: Watch) -> None:
        """Watch the row no more."""
        self._kind(watch).pop(key, None)
        self._found.watch.pop(key, None)
        if key in self._known:
            self._found.unwatch.add(key)

    def add(self, key: str, watch: Watch) -> None:
        """Watch a row that is not watched now. Of those that ended, the oldest gives way where there is no room."""
        kind = self._kind(watch)
        if self._later and kind is self._ended:
            self.settle()
        kind[key] = None
        self._found.watch[key] = watch
        self._found.unwatch.discard(key)
        if watch.until is not None and len(kind) > MOST_ENDED:
            oldest = next(iter(kind))
            self.drop(oldest, self.of(oldest) or watch)

    def add_later(self, key: str, record: Record, watch: Watcher) -> None:
        """Have `watch` add a row that has not failed and is not watched, once somebody asks.

        Of many such rows most give way to later ones of the same batch, so that they need not be added at all.
        """
        self._later[key] = record, watch

    def settle(self) -> None:
        """Add what was left for later."""
        later, self._later = self._later, {}
        for record, watch in list(later.values())[-MOST_ENDED:]:
            watch(record, record.status, None)

    @property
    def has_room(self) -> bool:
        """Whether one more row of an unmapped status may be watched."""
        return len(self._unmapped) < MOST_UNMAPPED

    def one_too_many(self, now: datetime) -> tuple[str, Watch] | None:
        """The row that has been open for longest, where too many are.

        In a queue it is the one that is run next, so it has to be a long queue, or a row that nobody will end.
        """
        if len(self._open) <= MOST_SILENT:
            return None
        oldest = next(iter(self._open))
        watch = self.of(oldest)
        too_many = len(self._open) > MOST_OPEN or (watch is not None and watch.since + SILENT <= now)
        return (oldest, watch) if watch is not None and too_many else None

    def _kind(self, watch: Watch) -> dict[str, None]:
        if watch.until is not None:
            return self._failed if watch.status is Status.FAILURE else self._ended
        return self._unmapped if watch.status is Status.UNMAPPED else self._open


class Rounds:
    """Which of the watched rows are due for a look: at first at every poll, later ever more rarely.

    A row that has ended rests for some seconds between two looks, as there may be thousands of them.

    A run is looked at in any case when it passes `stuck_after`, and, where it has a heartbeat (`beats`), often enough
    to see that. What is remembered here only paces: after a restart all rows are due.
    """

    def __init__(self, stuck_after: timedelta | None, *, beats: bool) -> None:
        self._stuck_after = stuck_after
        self._longest = min(_RARELY, stuck_after / _SIGNS) if stuck_after and beats else _RARELY
        self._looked: dict[str, datetime] = {}

    def due(self, watched: Mapping[str, Watch], now: datetime, *, ended: bool) -> list[str]:
        """The rows to look at now, at most MOST_AT_ONCE, those that waited for longest first.

        `ended` is whether rows that have ended are to be looked at too.
        """
        self._looked = {key: at for key, at in self._looked.items() if key in watched}
        due = [key for key, watch in watched.items() if self._is_due(key, watch, now, ended=ended)]
        if len(due) > MOST_AT_ONCE:
            due.sort(key=lambda key: (key in self._looked, self._looked.get(key)))
            del due[MOST_AT_ONCE:]
        return due

    def looked(self, keys: Iterable[str], now: datetime) -> None:
        """Remember that the rows were looked at."""
        self._looked.update(dict.fromkeys(keys, now))

    def _is_due(self, key: str, watch: Watch, now: datetime, *, ended: bool) -> bool:
        if watch.until is not None and (not ended or watch.until <= now):
            return False
        looked = self._looked.get(key)
        if looked is None and watch.ended and now >= watch.since:
            looked = watch.since
        if looked is None or now < looked:
            return True
        if self._stuck_after and not watch.ended and looked < (watch.started or watch.since) + self._stuck_after <= now:
            return True
        rest = _ENDED_RESTS if watch.ended else _NONE
        return now - looked >= max(rest, min((looked - watch.since) / _EVER_MORE_RARELY, self._longest))
