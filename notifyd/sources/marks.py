"""Marks of the last rows that were read: what shows that the log is still the one that they were read in.

A log that is emptied and filled again between two reads may have the same numbers by then, in other rows. So what the
last rows keep is remembered as marks: their run, or when they were written; else, where a log has neither, when they
ended. One row may be changed in place, or run again. Where none of those that are there is as it was, they are others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from notifyd.sources.place import Anchor, Place
from notifyd.sources.sync_log import SyncLog

MARKED: Final = 8
"""How many rows have a mark."""


@dataclass(frozen=True, slots=True)
class Marks:
    """`sql` is what a row keeps, NULL where it has nothing yet; None where the log has no such thing.

    `tells_apart` is whether that is hardly ever the same in another row.
    """

    order: str
    sql: str | None
    tells_apart: bool

    def look(self, log: SyncLog, place: Place, numbers: Iterable[int]) -> tuple[Anchor, int | None]:
        """The marks of the last rows now, and the first of their numbers if others have taken them.

        `numbers` are those of rows that were read behind the place just now. One query shows both, so that no row is
        remembered of another log than the one that was read.
        """
        kept = dict(place.marks)
        last = sorted({*kept, *numbers})
        if self.sql is None or (place.at is None and not last):
            return (), None
        now = self._read(log, {*kept, *last[-MARKED:]}) if last else self._newest(log, place.at or 0)
        known = [number for number, mark in kept.items() if mark and now.get(number)]
        if known and all(now[number] != kept[number] for number in known):
            return (), min(known)
        # A row that is gone is remembered: the log may be filled again later.
        marks = {**dict.fromkeys(last, ""), **kept, **now}
        return tuple(sorted(marks.items())[-MARKED:]), None

    def _read(self, log: SyncLog, numbers: Iterable[int]) -> dict[int, str]:
        names = {f"at{n}": number for n, number in enumerate(numbers)}
        return self._rows(log, f"{self.order} IN ({', '.join(f':{name}' for name in names)})", names)

    def _newest(self, log: SyncLog, at: int) -> dict[int, str]:
        return self._rows(log, f"{self.order} <= :at ORDER BY {self.order} DESC LIMIT {MARKED}", {"at": at})

    def _rows(self, log: SyncLog, condition: str, parameters: dict[str, int]) -> dict[int, str]:
        sql = f"SELECT {self.order}, {self.sql} FROM {log.relation.sql} WHERE {condition}"
        return {row[0]: _mark(row[1]) for row in log.database.read(sql, parameters, list)}


def _mark(kept: str | None) -> str:
    return "" if kept is None else hashlib.blake2b(kept.encode("utf-8", "replace"), digest_size=6).hexdigest()
