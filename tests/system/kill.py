"""The daemon is killed at random moments while failures arrive; what has to be true once it was let finish.

    chaos = Chaos(folder, seed=1, kills=6, failures=600)
    await chaos.run()
    assert chaos.faults() == []
    chaos.figures()                  # {"kills": 6, "events": …, "repeats": …}

A real process, killed by SIGKILL; real logs that a writer goes on filling meanwhile; a real sink, a little slow,
so that something is always in flight. `test_kill.py` and `bench_kill.py` differ in size only.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from notifyd.core.detect import detect
from notifyd.core.memory import Memory
from notifyd.core.rules import Origin
from notifyd.model import Record
from notifyd.sources import open_source
from tests.sinks.http import HttpSink, Request
from tests.sinks.log import JobLog, SyncLog
from tests.system.process import Process
from tests.system.site import Site, webhook

ERRORS = (
    "500: out of stock",
    "500: WooCommerce rate limit exceeded",
    "error sending request for url (https://shop.example.com/)",
    "401: Invalid QuickBooks credentials or expired token",
)

SLOWEST_ANSWER = 0.03
"""Seconds that the sink takes at most."""

BOOTING = 0.25
"""The share of kills that come while it starts, within a second of its exec; the others come once it is ready."""

AT_WORK = 1.2
"""Seconds that it works at most before it is killed."""

QUIET = 1.5
"""Seconds without a new row after which the log has been read to its end."""

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Step:
    """What the sync system writes in one transaction."""

    jobs: list[Row]
    shop: list[Row]


class Chaos:
    """See the module's docstring."""

    def __init__(
        self, folder: Path, *, seed: int, kills: int, failures: int, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.kills, self.failures, self.say = kills, failures, say
        self.random = random.Random(seed)  # when it is killed, and how slow the sink is
        self.steps = list(story(random.Random(seed + 1), failures))
        self.site = Site(folder)
        self.requests: list[Request] = []
        self.killed, self.at_work = 0, False
        self.seconds = 0.0

    async def run(self) -> None:
        """Kill it as often as was said, then let it finish and stop it."""
        begun = time.monotonic()
        with ExitStack() as logs:
            self.jobs = logs.enter_context(JobLog(self.site.folder / "jobs.db"))
            self.shop = logs.enter_context(SyncLog(self.site.folder / "shop.db"))
            async with HttpSink() as sink:
                sink.answer = self._slowly
                self._write_settings(sink)
                await asyncio.gather(self._keep_writing(), self._keep_killing())
                await self._let_finish()
                self.requests = sink.requests
        self.seconds = time.monotonic() - begun

    # -- what happens ----------------------------------------------------------------------------

    async def _slowly(self, _: Request) -> int:
        await asyncio.sleep(self.random.uniform(0, SLOWEST_ANSWER))
        return 200

    def _write_settings(self, sink: HttpSink) -> None:
        self.site.write(
            sources=[
                self.jobs.source("jobs", start="beginning"),
                self.shop.source("shop", start="beginning", run_ends_after="1h"),
            ],
            notifications=[
                webhook("each", sink.url),
                webhook("digests", sink.url, window="1s"),
                webhook("critical", sink.url, filters={"min_severity": "critical"}),
            ],
        )

    async def _keep_writing(self) -> None:
        """An equal share of the rows arrives before each kill: half while it is down or starts, half while it works."""
        share = len(self.steps) / self.kills
        for number, step in enumerate(self.steps):
            while number > share * (self.killed + (1 if self.at_work else 0.5)) and self.killed < self.kills:
                await asyncio.sleep(0.005)
            self.jobs.write(step.jobs)
            self.shop.write(step.shop)
            await asyncio.sleep(AT_WORK / (share / 2) if self.at_work else 0)

    async def _keep_killing(self) -> None:
        for number in range(1, self.kills + 1):
            process = await Process(self.site.file).start()
            if self.random.random() < BOOTING:
                await asyncio.sleep(self.random.random())
            else:
                await process.ready()
                self.at_work = True
                await asyncio.sleep(self.random.uniform(0, AT_WORK))
            await process.end(signal.SIGKILL)
            self.at_work, self.killed = False, number
            if number % 10 == 0:
                self.say(f"killed {number} times")

    async def _let_finish(self) -> None:
        async with Process(self.site.file) as process:
            read, since = self._rows_read(), time.monotonic()
            while self._deliveries_waiting() or time.monotonic() - since < QUIET:
                await asyncio.sleep(0.1)
                if read != (read := self._rows_read()):
                    since = time.monotonic()
            assert await process.end(signal.SIGTERM) == 0

    def _deliveries_waiting(self) -> int:
        sql = "SELECT COUNT(*) FROM deliveries WHERE state NOT IN ('sent', 'dead', 'expired', 'cancelled')"
        return int(self.site.value(sql))

    def _rows_read(self) -> dict[str, int]:
        return {name: self.site.book(f"source:{name}")["read"] for name in ("jobs", "shop")}

    def _rows_written(self) -> dict[str, int]:
        return {
            "jobs": sum(len(step.jobs) for step in self.steps),
            "shop": sum(len(step.shop) for step in self.steps),
        }

    # -- what has to be true ---------------------------------------------------------------------

    def faults(self) -> list[str]:
        """Everything that is not as it has to be, a line each."""
        return [*self._lost_or_invented(), *self._undelivered(), *self._repeated(), *self._unbalanced()]

    def _lost_or_invented(self) -> Iterator[str]:
        """The events are those that one fold over the whole logs finds: none lost, none twice, none invented."""
        found = [identity for (identity,) in self.site.query("SELECT id FROM events")]
        expected = set(self._expected())
        yield from lines("an event was lost", expected - set(found))
        yield from lines("an event was invented", set(found) - expected)
        yield from lines("a failing row without an event", self._failing_rows() - self._told_rows())
        twice = "SELECT run_id, record_key, event_type FROM events WHERE record_key IS NOT NULL GROUP BY 1, 2, 3"
        yield from lines("detected twice", self.site.query(f"{twice} HAVING COUNT(*) > 1"))

    def _expected(self) -> Iterator[str]:
        settings = self.site.settings()
        for source in settings.sources:
            origin = Origin(source.name, source.id, rows=source.rows, run_ends_after=source.run_ends_after)
            detected = detect(Memory(), _whole(source), settings.rules.detection(), origin)
            yield from (finding.event.id for finding in detected.findings)

    def _failing_rows(self) -> set[tuple[str, str]]:
        """(source, what an event of theirs must name): the row where a row is a run, else the run."""
        jobs = {("jobs", str(key)) for key in self._keys("jobs.db", "SELECT id FROM jobs WHERE status = 'error'")}
        return jobs | {
            ("shop", run) for run in self._keys("shop.db", "SELECT sync_id FROM sync_logs WHERE result = 'error'")
        }

    def _keys(self, database: str, sql: str) -> list[Any]:
        return [key for (key,) in Site.read(self.site.folder / database, sql)]

    def _told_rows(self) -> set[tuple[str, str]]:
        return set(
            self.site.query("SELECT source_id, COALESCE(run_id, record_key) FROM events WHERE record_key IS NOT NULL")
        )

    def _undelivered(self) -> Iterator[str]:
        """Every event has its verdict for each config, and every delivery arrived."""
        offered = "SELECT e.id, c.name FROM events e, notification_configs c"
        missing = f"{offered} WHERE NOT EXISTS (SELECT 1 FROM verdicts WHERE event_id = e.id AND config_id = c.id)"
        yield from lines("no verdict", self.site.query(missing))
        yield from lines("not sent", self.site.query("SELECT id, state, error FROM deliveries WHERE state <> 'sent'"))
        deliveries = {identity for (identity,) in self.site.query("SELECT id FROM deliveries")}
        yield from lines("never arrived", deliveries - self._arrivals().keys())
        yield from lines("arrived, and nobody knows it", self._arrivals().keys() - deliveries)

    def _repeated(self) -> Iterator[str]:
        """Only what was in flight at a kill is repeated, under the same id and with the same words."""
        open_attempts = "SELECT delivery_id, attempt FROM notification_history WHERE finished_at IS NULL"
        yield from lines("an attempt without an end", self.site.query(open_attempts))
        yield from lines(
            "repeated, but not in flight at a kill",
            [
                (identity, count)
                for identity, count in self._arrivals().items()
                if count - 1 > self._in_flight()[identity]
            ],
        )
        words: dict[str, set[bytes]] = {}
        for request in self.requests:
            words.setdefault(request.headers["webhook-id"], set()).add(request.body)
        yield from lines("repeated in other words", [identity for identity, bodies in words.items() if len(bodies) > 1])

    def _in_flight(self) -> Counter[str]:
        """How often each delivery was in flight when the daemon was killed."""
        sql = "SELECT delivery_id FROM notification_history WHERE error = 'unknown: the daemon stopped'"
        return Counter(identity for (identity,) in self.site.query(sql))

    def _arrivals(self) -> Counter[str]:
        return Counter(request.headers["webhook-id"] for request in self.requests)

    def _unbalanced(self) -> Iterator[str]:
        yield from self.site.imbalances()
        yield from lines("integrity", [row for row in self.site.query("PRAGMA integrity_check") if row != ("ok",)])
        if self._rows_read() != self._rows_written():
            yield f"rows written {self._rows_written()}, and read {self._rows_read()}"

    # -- what there was --------------------------------------------------------------------------

    def figures(self) -> dict[str, float]:
        """How much of everything."""
        return {
            "kills": self.kills,
            "rows": sum(self._rows_written().values()),
            "failing_rows": sum(self.site.book(f"source:{name}")["failure"] for name in ("jobs", "shop")),
            "events": self.site.value("SELECT COUNT(*) FROM events"),
            "deliveries": self.site.value("SELECT COUNT(*) FROM deliveries"),
            "requests": len(self.requests),
            "in_flight_at_a_kill": self._in_flight().total(),
            "repeats": len(self.requests) - len(self._arrivals()),
            "seconds": round(self.seconds, 1),
        }


def story(chance: random.Random, failures: int) -> Iterator[Step]:
    """What the sync systems write, a few rows at a time, until so many of them failed."""
    run = 0
    while failures > 0:
        jobs = [_job(chance) for _ in range(chance.randint(1, 4))]
        shop = list(_run(chance, run)) if chance.random() < 0.5 else []
        run += 1
        failures -= sum(row[2] == "error" for row in jobs) + sum(row[7] == "error" for row in shop)
        yield Step(jobs, shop)


def _job(chance: random.Random) -> Row:
    status = chance.choices(("error", "ok", "warning", "odd"), (70, 24, 4, 2))[0]
    job, connector = f"job {chance.randrange(40)}", chance.choice(("quickbooks", "woocommerce"))
    return JobLog.row(status, chance.choice(ERRORS), job=job, connector=connector)


def _run(chance: random.Random, number: int) -> Iterator[Row]:
    connector, entity = chance.choice(("quickbooks", "woocommerce")), chance.choice(("orders", "products", "customers"))
    fails = chance.random() < 0.7
    for _ in range(chance.randint(1, 6)):
        result = "error" if fails and chance.random() < 0.5 else "success"
        key = f"{chance.getrandbits(128):032x}"
        yield SyncLog.row(f"run {number}", result, chance.choice(ERRORS), connector=connector, entity=entity, key=key)


def _whole(settings: Any) -> list[Record]:
    """All records of a source's log."""
    source, now = open_source(settings), datetime.now(UTC)
    batch = source.read(source.start(now).cursor, now, limit=1_000_000)
    source.close()
    return batch.records


def lines(what: str, found: Any) -> Iterator[str]:
    """At most a handful of them."""
    items = sorted(found, key=str)
    yield from (f"{what}: {item}" for item in items[:5])
    if len(items) > 5:
        yield f"{what}: … and {len(items) - 5} more"
