"""The state DB: whole, of this notifyd's schema, and with books that balance."""

from __future__ import annotations

from collections.abc import Iterator

from notifyd.cli.doctor.finding import Finding, Level
from notifyd.cli.output import count
from notifyd.clock import utc_now
from notifyd.settings import Settings, sqlite_path
from notifyd.store import audit, copies, reads
from notifyd.store.audit import Status
from notifyd.store.errors import StoreError

AREA = "State"
_MUCH = 200_000_000


def findings(settings: Settings) -> Iterator[Finding]:
    """What is wrong with it, and what it says of deliveries."""
    path = sqlite_path(settings.daemon.state)
    if path.is_file() and (trouble := copies.is_sound(path)):
        do = "stop notifyd, then `notifyd restore` a backup; without one: sqlite3's .recover"
        yield Finding(AREA, Level.PROBLEM, f"the state DB {path} is damaged: {trouble}", do)
        return
    try:
        with reads.opened(settings.daemon.state) as db:
            found = audit.status(db, utc_now())
    except StoreError as error:
        yield Finding(AREA, Level.PROBLEM, str(error))
        return
    yield Finding(AREA, Level.OK, f"{path} is whole")
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size > _MUCH:
        do = "look for a program that has the state DB open and reads on and on: fuser -v"
        yield Finding(AREA, Level.WARNING, f"{wal} has {wal.stat().st_size // 1_000_000} MB: somebody holds it", do)
    yield from _books(found)
    yield from _deliveries(found)


def _books(found: Status) -> Iterator[Finding]:
    for difference in found.differences:
        do = "this is a bug in notifyd: report it, with `notifyd status --json`"
        yield Finding(AREA, Level.PROBLEM, f"the books do not balance: {difference}", do)
    if not found.differences:
        rows = sum(book.counts.get("read", 0) for book in found.source_books)
        yield Finding(
            AREA, Level.OK, f"the books balance: each of {count(rows, 'row')} that were read is accounted for"
        )


def _deliveries(found: Status) -> Iterator[Finding]:
    if found.given_up:
        do = "`notifyd history --failed` has the errors; once mended: `notifyd retry --state dead`"
        yield Finding(AREA, Level.WARNING, f"{count(found.given_up, 'delivery')} given up", do)
    if found.untold:
        events = sum(book.counts.get("events", 0) for book in found.source_books)
        level = Level.PROBLEM if found.untold >= events else Level.WARNING
        text = f"{count(found.untold, 'event')} of {events} told to nobody, as every config dropped it"
        yield Finding(
            AREA, level, text, "`notifyd check` lists the newest; `notifyd why ID` says what each filter said"
        )
