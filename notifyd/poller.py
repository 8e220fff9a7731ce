"""Loop one: read → detect → ask the filters → commit, for one source.

Reading, folding and filtering run on the source's own thread, so a stuck source stalls no other (`reading.py`);
one transaction on the store thread keeps everything that a batch came to. The poller never waits
for a network send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from notifyd.clock import Clock
from notifyd.core.detect import GIVEN_UP, Gone, Input, Past, Tick, detect
from notifyd.core.memory import Detected, Memory
from notifyd.core.rules import Origin, Rules
from notifyd.core.watching import MOST_OPEN, Rounds
from notifyd.errors import NotifydError
from notifyd.filtering import Gate, ask
from notifyd.model import Watch
from notifyd.observe import health as parts
from notifyd.observe.health import Health
from notifyd.outage import OutageWatch
from notifyd.reading import Hangs, Reading
from notifyd.settings import SourceSettings
from notifyd.sources import Batch, Source, SourceError
from notifyd.store import commit, cursors, memory
from notifyd.store.commit import Committed, Polled
from notifyd.store.cursors import Checkpoint, Kept
from notifyd.store.database import StoreError
from notifyd.store.thread import StoreThread

REMEMBER_READ = timedelta(minutes=1)
"""How often the state DB learns that a source with nothing new was read."""

log = structlog.get_logger("notifyd.poller")


class Poller:
    """Polls one source. `found` is called after a commit that put something in the outbox."""

    def __init__(
        self,
        source: SourceSettings,
        origin: Origin,
        rules: Rules,
        gates: Sequence[Gate],
        store: StoreThread,
        clock: Clock,
        health: Health,
        found: Callable[[], None],
    ) -> None:
        self.settings, self.origin, self.rules, self.gates = source, origin, rules, gates
        self.store, self.clock, self.health, self.found = store, clock, health, found
        self.name = source.name
        self.rounds = Rounds(origin.stuck_after, beats=source.columns.heartbeat_at is not None)
        self.outage = OutageWatch(source, rules, gates, store, found)
        self._reading = Reading(source)
        self.kept: Kept | None = None  # saves reading thousands of watched rows anew at every poll
        self._written_at: datetime | None = None
        self._failing = ""
        self._stopping = False
        self._said: set[str] = set()

    async def poll(self) -> None:
        """Read to the end of the log. What fails is said once, kept for `notifyd sources`, and tried again."""
        try:
            while not self._stopping and not await self._batch():
                self.health.late(parts.source(self.name))
        except Exception as error:
            if not (self._stopping and isinstance(error, Hangs)):
                await self._failed(error)
        else:
            await self._succeeded()

    def stop(self) -> None:
        """Read no further than the batch at hand, however much of the log is left; a read that hangs is given up."""
        self._stopping = True
        self._reading.give_up()

    async def close(self) -> None:
        """Close the source, after the batch at hand."""
        await self._reading.close()

    # -- one batch -------------------------------------------------------------------------------

    async def _batch(self) -> bool:
        """One batch, one transaction. True if it reached the end of the log, and counts."""
        now = self.clock()
        checkpoint, known = await self._known(now)
        batch, gone = await self._reading.run(self._read, self._reading.source, checkpoint, known.watched, now)
        detected = await self._detect(batch, gone, known, now)
        if not self._anything_new(batch, checkpoint, detected, now):
            return batch.at_end
        if not await self._commit(checkpoint, batch, detected, now):
            return False
        self.kept = Kept.after(batch.cursor, known, detected, now)
        return batch.at_end

    async def _known(self, now: datetime) -> tuple[Checkpoint, Memory]:
        """Where reading has come to, with what is watched and due; at the first start, where it begins."""
        source_id = self.settings.id
        checkpoint, known = await self.store(cursors.glance, source_id, now, self.origin, self.kept)
        if checkpoint:
            return checkpoint, known
        start = await self._reading.run(self._reading.source.start, now)
        before: list[Input] = [*start.records, *map(Past, start.ended)]
        watched = detect(Memory(), before, self.rules, self.origin)
        await self.store(cursors.start, source_id, self.name, start.cursor, watched, now)
        begin, running = str(self.settings.start), watched.counts["open"]
        log.info("reading begins", source=self.name, start=begin, running=running)
        if running >= MOST_OPEN:
            log.warning("more rows are open than are watched: see `notifyd check`", source=self.name, watched=running)
        return await self._known(now)

    def _read(
        self, source: Source, checkpoint: Checkpoint, watched: Mapping[str, Watch], now: datetime
    ) -> tuple[Batch, list[str]]:
        """The watched rows that are due, as they are now, then the new ones; and the keys of those that are gone."""
        due = self.rounds.due(watched, now, ended=not source.sees_changes) if watched else []
        seen = source.look_up(due, now) if due else {}
        batch = source.read(checkpoint.cursor, now)
        self.rounds.looked(due, now)
        if batch.epoch != checkpoint.epoch:
            due = [key for key in due if not watched[key].ended]  # what has their keys now are other rows
        if seen:
            batch = replace(batch, records=[*(seen[key] for key in due if key in seen), *batch.records])
        return batch, [key for key in due if key not in seen]

    async def _detect(self, batch: Batch, gone: Sequence[str], known: Memory, now: datetime) -> Detected:
        tick = now if batch.at_end else None
        origin = self.origin if batch.epoch == self.origin.epoch else replace(self.origin, epoch=batch.epoch)
        if batch.at_end and not batch.records and not gone and not known.runs and not known.streaks:
            # Nothing to fold, or next to nothing: not worth a thread.
            return detect(known, [Tick(now)], self.rules, origin) if known.watched else Detected()
        known = await self.store(
            memory.load, self.settings.id, batch.records, tick, origin, gone=gone, watching=known.watched
        )
        inputs: list[Input] = [*(Gone(key, now) for key in gone), *batch.records]
        if batch.at_end:
            inputs.append(Tick(now))
        return await self._reading.run(detect, known, inputs, self.rules, origin)

    async def _commit(self, checkpoint: Checkpoint, batch: Batch, detected: Detected, now: datetime) -> bool:
        """Keep it all. False where the cursor was moved meanwhile (`notifyd sources rewind`): it is read from there."""
        events = [finding.event for finding in detected.findings]
        gates = list(self.gates)
        verdicts = await self._reading.run(ask, gates, events, now) if events else {}
        polled = Polled(
            source_id=self.settings.id,
            cursor=batch.cursor,
            epoch=batch.epoch,
            at_end=batch.at_end,
            detected=detected,
            verdicts=verdicts,
            unreadable=[(row.key, row.text) for row in batch.set_aside],
            read_from=checkpoint.cursor,
        )
        # A config that came meanwhile is told from the next batch on; one that went is told no more.
        there = {gate.recipient.id for gate in self.gates}
        recipients = [gate.recipient for gate in gates if gate.recipient.id in there]
        committed = await self.store(commit.commit, polled, recipients, now)
        if committed is None:
            log.warning("the cursor was moved; it is read from there", source=self.name)
            return False
        self._written_at = now
        self._say(batch, polled, committed)
        if committed.events:
            self.found()
        return True

    def _anything_new(self, batch: Batch, checkpoint: Checkpoint, detected: Detected, now: datetime) -> bool:
        """Whether a transaction is worth its cost: an idle poll writes only once a minute."""
        changed = detected.counts or detected.runs or detected.streaks or detected.unwatch or batch.set_aside
        stale = self._failing or self._written_at is None or now - self._written_at >= REMEMBER_READ
        return bool(changed or stale or batch.cursor != checkpoint.cursor or now < (self._written_at or now))

    # -- what is said ----------------------------------------------------------------------------

    def _say(self, batch: Batch, polled: Polled, committed: Committed) -> None:
        for note in batch.notes:
            log.warning(note, source=self.name)
        for pattern in sorted(self._left_out() - self._said):
            self._said.add(pattern)
            log.error("a pattern takes too long, and is left out until the settings are read again", pattern=pattern)
        if committed.events:
            log.info("found", source=self.name, events=committed.events, untold=committed.untold)
        aside = [one for one in (*polled.unreadable, *polled.detected.set_aside) if one[1] not in self._said]
        for key, text in aside[:1]:
            log.warning("rows set aside", source=self.name, count=len(aside), first=key, why=text)
        self._said |= {GIVEN_UP} & {text for _, text in aside}

    def _left_out(self) -> set[str]:
        """The patterns that ran out of time too often."""
        ours = [*self.settings.redact, *self.settings.ignore, *(one for one, _ in self.settings.statuses.patterns)]
        return {one.pattern for one in (*ours, *(rule.matches for rule in self.rules.patterns)) if one.left_out}

    async def _succeeded(self) -> None:
        if self._failing:
            log.info("the source is read again", source=self.name)
            self._failing = ""
        self.health.turn(parts.source(self.name), self.clock(), ok=True)
        await self._watch_outage(None)

    async def _failed(self, error: Exception) -> None:
        self.kept = None  # whether its commit came through is not known
        text = str(error) if isinstance(error, NotifydError) else f"{type(error).__name__}: {error}"
        now = self.clock()
        self.health.turn(parts.source(self.name), now, ok=False, note=text, hangs=isinstance(error, Hangs))
        if text != self._failing:
            self._failing = text
            self._say_failure(error, text)
        if not isinstance(error, StoreError):
            await self._watch_outage(text)

    def _say_failure(self, error: Exception, text: str) -> None:
        match error:
            case SourceError():
                log.error("the source cannot be read; it is tried again at every poll", source=self.name, error=text)
            case StoreError():
                log.error("what was read cannot be kept; it is read again at every poll", source=self.name, error=text)
            case _:
                log.error("the poll has a bug; it is tried again", source=self.name, exc_info=error)

    async def _watch_outage(self, failure: str | None) -> None:
        """Tell people of an outage that lasts, and of its end."""
        try:
            if failure is None:
                await self.outage.over(self.clock())
            else:
                await self.outage.failed(failure, self.clock())
        except StoreError as error:
            log.error("the state DB cannot be written", source=self.name, error=str(error))
