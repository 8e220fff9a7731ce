"""The end of the story: the books, and whether everything in them adds up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from notifyd.clock import utc_now
from notifyd.demo.settings_file import CONFIGS
from notifyd.demo.stage import Stage
from notifyd.store import audit, reads
from notifyd.store.audit import ConfigBook, Status
from notifyd.store.reads import Delivery

HEADER = ("", "events", "left out", "folded", "told", "messages", "retried", "dead")
"""Of the table: events = left out + folded + told, and what was told left in so many messages."""


class Balance(NamedTuple):
    """What the sync system wrote, what the daemon's books say, and what arrived."""

    written: int
    status: Status
    deliveries: list[Delivery]
    arrived: set[str]  # the ids of the deliveries that the sinks accepted

    @property
    def read(self) -> int:
        """Rows read."""
        return self._of_source("read")

    @property
    def failures(self) -> int:
        """Rows that are failures."""
        return self._of_source("failure")

    @property
    def events(self) -> int:
        """Events found."""
        return self._of_source("events")

    @property
    def sent(self) -> int:
        """Deliveries that the daemon calls sent."""
        return self.status.deliveries.get("sent", 0)

    def _of_source(self, what: str) -> int:
        return sum(book.counts.get(what, 0) for book in self.status.source_books)


async def settle(stage: Stage) -> None:
    """Let the sync system rest, and wait until the daemon has read everything and told everything."""
    stage.working.cancel()
    ledger = stage.ledger
    await ledger.until(lambda: ledger.of_source("read") == stage.system.rows, "all rows that were written are read")
    await ledger.until(
        lambda: set(audit.status(ledger.database, utc_now()).deliveries) <= {"sent", "dead"}, "the outbox is empty"
    )


def taken(stage: Stage) -> Balance:
    """The balance as it stands."""
    database = stage.ledger.database
    return Balance(
        written=stage.system.rows,
        status=audit.status(database, utc_now()),
        deliveries=reads.deliveries(database, limit=10_000).items,
        arrived={arrival.delivery for arrival in stage.inbox.arrivals if arrival.status == 200},
    )


def differences(balance: Balance) -> Iterator[str]:
    """What does not add up: between the sync log and the books, within the books, between the books and the sinks."""
    if balance.written != balance.read:
        yield f"{balance.written} rows were written, but {balance.read} were read"
    yield from balance.status.differences
    for book in balance.status.config_books:
        if (offered := _events(book)) != balance.events:
            yield f"config {book.name}: {balance.events} events were found, but {offered} were offered to it"
    sent = {delivery.id for delivery in balance.deliveries if delivery.state == "sent"}
    if sent != balance.arrived:
        yield f"{len(sent)} messages are booked as sent, but {len(balance.arrived)} arrived"


def rows(balance: Balance) -> Iterator[tuple[str, ...]]:
    """The table below HEADER: a row for each config."""
    books = {book.name: book for book in balance.status.config_books}
    for config in CONFIGS:
        book, mine = books[config], [d for d in balance.deliveries if d.config_name == config]
        counts = (
            _events(book),
            _count(book, "dropped", "closing_dropped"),
            _count(book, "folded"),
            _count(book, "planned", "closing_planned"),
            sum(d.state == "sent" for d in mine),
            sum(d.attempts - 1 for d in mine),
            sum(d.state == "dead" for d in mine),
        )
        yield (config, *(f"{count:,}" for count in counts))


def _events(book: ConfigBook) -> int:
    """The events that the config was asked about, closing ones included."""
    return _count(book, "offered", "closing_planned", "closing_dropped")


def _count(book: ConfigBook, *names: str) -> int:
    return sum(book.counts.get(name, 0) for name in names)
