"""How far back a read by time goes: over the overlap of the settings, and over what makes the log's times ambiguous.

To read thousands of rows again at each poll would cost more than all that is new. So of a busy log most reads go back
by some seconds only, and one now and then over the whole: the more rows, the more rarely. The whole begins by the
overlap before what the last such read came to, so a row that is committed late is found all the same, only later.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from notifyd.settings import SourceSettings
from notifyd.sources.database import Kind, Row
from notifyd.sources.window import Sweep, Window

FEW: Final = 1_000
"""So many rows are read again at each poll."""

_A_SECOND: Final = 1_000  # of more rows: how many are read again for each second, on average
_LATELY: Final = timedelta(seconds=10)
_CLOCKS_CHANGE: Final = timedelta(hours=3)
_REPEATED: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


class Overlap:
    """The overlap of one source. It forgets with the process when it last looked back over the whole, and does so."""

    def __init__(self, settings: SourceSettings, kind: Kind, *, by_day: bool) -> None:
        self._length, self._zone = settings.overlap, settings.timezone
        self._kind, self._by_day = kind, by_day
        self._whole_at: datetime | None = None
        self._short = False

    def begin(self, window: Window, now: datetime) -> datetime | None:
        """From when on rows are read; None for all. A sweep goes on as it began, over a restart too."""
        if window.sweep is not None:
            self._short = window.sweep.short
        else:
            self._short = self._whole_at is not None and self._whole_at <= now < self._whole_at + self._pause(window)
        begin = window.begin(self.at(now), now)
        if begin is None or window.high is None or now < window.high:
            return begin
        if not self._short:
            return window.floor or begin
        return max(begin, window.high - min(_LATELY, self._length) - self._ambiguous(now))

    def looked(self, now: datetime) -> bool:
        """A sweep came to its end; whether it looked over the whole."""
        if not self._short:
            self._whole_at = now
        return not self._short

    def at(self, now: datetime) -> timedelta:
        """How far back a row may be committed that is found."""
        return self._length + self._ambiguous(now)

    def kept(self, now: datetime) -> timedelta | None:
        """How far back all is remembered; None where it is from then on as before, as it was not all looked at."""
        return None if self._short else self.at(now)

    def after(self, row: Row, peak: datetime | None) -> Sweep:
        """The sweep that goes on behind a row."""
        return Sweep(row[0], str(row[1]), peak, short=self._short)

    def _pause(self, window: Window) -> timedelta:
        """How long a look over the whole is put off."""
        count = len(window.seen)
        return min(timedelta(seconds=count / _A_SECOND), self._length / 2) if count > FEW else timedelta()

    def _ambiguous(self, now: datetime) -> timedelta:
        """Times without a zone repeat an hour when the clocks go back; a date is any time of its day."""
        if self._kind is Kind.INSTANT:
            return timedelta()
        day = _DAY if self._by_day else timedelta()
        offsets = {(now + ahead).astimezone(self._zone).utcoffset() for ahead in (-_CLOCKS_CHANGE, _CLOCKS_CHANGE)}
        return day + (_REPEATED if len(offsets) > 1 else timedelta())
