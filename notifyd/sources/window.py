"""The window of a log that is read by time: how far its times have come, and which rows behind that were seen.

Rows become visible late, and share times: so every read goes back by an overlap, and the rows that were seen
in it are known by key and status. A time that is still to come moves nothing on; its row is remembered for as
long as it lies ahead. A read of many rows is a *sweep*, page by page in the order that the database sorts
by, which need not be that of time: only at its end the window moves.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from heapq import nlargest
from typing import Any, Final

from notifyd.model import rfc3339

MOST_SEEN: Final = 30_000
"""The most rows that a cursor remembers; more, and the window begins later, at the oldest that is left."""

Seen = dict[str, tuple[float, str]]
"""A row's fingerprint → its time (seconds since the epoch; infinite where it has none), and its status."""

_DIGEST: Final = 6  # bytes
_MARK: Final = 8  # characters that these become


@dataclass(frozen=True, slots=True)
class Sweep:
    """A read that has not come to its end: the last row's time and key as the database has them.

    `peak` is the latest time that was read, and `floor` the time from which on all that was read is remembered.
    `short` is whether it began later than the window does; see `overlap`.
    """

    after: Any
    key: str
    peak: datetime | None
    floor: datetime | None = None
    short: bool = False

    def as_json(self) -> list[Any]:
        """The sweep in a cursor."""
        return [_kept(self.after), self.key, _text(self.peak), _text(self.floor), self.short]


@dataclass(frozen=True, slots=True)
class Window:
    """`high` is how far the log has been read (None: not at all); from `floor` on, what was read is remembered."""

    high: datetime | None = None
    floor: datetime | None = None
    seen: Seen = field(default_factory=dict)
    fresh: Seen = field(default_factory=dict)  # seen by the sweep that goes on
    sweep: Sweep | None = None
    crowded: bool = field(default=False, compare=False)  # more rows lay in the overlap than are remembered

    def begin(self, overlap: timedelta, now: datetime) -> datetime | None:
        """From when on rows are read; behind the floor they would be told again.

        A clock that was set back takes the window with it: better to read a row twice than never.
        """
        if self.high is None or now < self.high:
            return None if self.high is None else now - overlap
        return _later(self.high - overlap, self.floor)

    def knows(self, mark: str, status: str) -> bool:
        """Whether the row with this fingerprint was seen with this status last."""
        known = self.fresh.get(mark) or self.seen.get(mark)
        return known is not None and known[1] == status

    def ended(self, fresh: Seen, peak: datetime | None, overlap: timedelta | None) -> Window:
        """After a sweep has come to the end of the log. Without an overlap the window begins where it did."""
        high = _later(self.high, peak)
        back = self._back(high, overlap)
        seen, oldest = _newest({**self.seen, **fresh}, back)
        floor = _later(_later(self.floor, self.sweep.floor if self.sweep else None), _later(back, oldest))
        return Window(high, floor, seen, crowded=self.crowded or oldest is not None)

    def paused(self, fresh: Seen, sweep: Sweep, overlap: timedelta | None) -> Window:
        """After one page of a sweep that goes on."""
        kept, oldest = _newest(fresh, self._back(sweep.peak, overlap))
        floor = _later(self.sweep.floor if self.sweep else None, oldest)
        return replace(self, fresh=kept, sweep=replace(sweep, floor=floor), crowded=self.crowded or oldest is not None)

    def _back(self, high: datetime | None, overlap: timedelta | None) -> datetime | None:
        if overlap is None:
            return self.floor
        return high - overlap if high else None

    def as_json(self) -> dict[str, Any]:
        """The window in a cursor."""
        sweep = self.sweep and self.sweep.as_json()
        return {
            "high": _text(self.high),
            "floor": _text(self.floor),
            "seen": _packed(self.seen),
            "fresh": _packed(self.fresh),
            "sweep": sweep,
        }


def window_of(kept: Mapping[str, Any]) -> Window:
    """The window that a cursor keeps. Raises KeyError, ValueError or TypeError where it is none."""
    sweep = kept["sweep"]
    return Window(
        _moment(kept["high"]),
        _moment(kept["floor"]),
        _unpacked(kept["seen"]),
        _unpacked(kept["fresh"]),
        _sweep_of(*sweep) if sweep else None,
    )


def _sweep_of(after: Any, key: str, peak: str | None, floor: str | None, short: object = False) -> Sweep:
    return Sweep(_as_read(after), str(key), _moment(peak), _moment(floor), bool(short))


def fingerprint(key: str) -> str:
    """A short stand-in for a key."""
    digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=_DIGEST).digest()
    return base64.urlsafe_b64encode(digest).decode()


def _newest(seen: Seen, back: datetime | None) -> tuple[Seen, datetime | None]:
    """The rows from a time on, as many as there is room for; and the oldest time left, where room was short."""
    since = back.timestamp() if back else 0.0
    kept = {mark: about for mark, about in seen.items() if about[0] >= since}
    if len(kept) <= MOST_SEEN:
        return kept, None
    newest = nlargest(MOST_SEEN, kept.items(), key=lambda item: item[1][0])
    oldest = newest[-1][1][0]
    # What shares the oldest time was cut through, so the window begins right behind it.
    left = {mark: about for mark, about in newest if about[0] > oldest}
    return left, None if math.isinf(oldest) else datetime.fromtimestamp(oldest, UTC) + timedelta(milliseconds=1)


def _packed(seen: Seen) -> dict[str, list[str]]:
    """Status → fingerprint and time of each of its rows, as text; there may be thousands in a cursor."""
    packed: dict[str, list[str]] = {}
    for mark, (at, status) in seen.items():
        packed.setdefault(status, []).append(mark + ("" if math.isinf(at) else f"{math.ceil(at * 1000):x}"))
    return {status: sorted(rows) for status, rows in packed.items()}


def _unpacked(packed: Mapping[str, Sequence[str]]) -> Seen:
    seen: Seen = {}
    for status, rows in packed.items():
        for row in rows:
            mark, at = row[:_MARK], row[_MARK:]
            seen[mark] = (int(at, 16) / 1000 if at else math.inf, status)
    return seen


def _kept(value: Any) -> Any:
    """A value of the log's time as JSON can keep it; `_as_read` is the inverse."""
    match value:
        case Decimal():
            return {"decimal": str(value)}
        case bytes():
            return {"bytes": value.hex()}
    return value


def _as_read(kept: Any) -> Any:
    match kept:
        case {"decimal": str(text)}:
            return Decimal(text)
        case {"bytes": str(text)}:
            return bytes.fromhex(text)
    return kept


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (one, other)), default=None)


def _text(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
