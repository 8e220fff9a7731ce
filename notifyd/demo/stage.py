"""Everything that the story plays on, brought up in order and taken down in the reverse."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from notifyd.demo import child, ledger, settings_file, sinks
from notifyd.demo.child import Child
from notifyd.demo.inbox import Inbox
from notifyd.demo.ledger import Ledger
from notifyd.demo.sinks import Sinks
from notifyd.demo.sync_system import SyncSystem
from notifyd.demo.terminal import Terminal
from notifyd.settings import sqlite_url


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of the demonstration, and its files."""

    folder: Path

    @property
    def settings(self) -> Path:
        """What the daemon runs on."""
        return self.folder / "notifyd.toml"

    @property
    def sync_log(self) -> Path:
        """What the sync system writes and the daemon reads."""
        return self.folder / "sync-log.db"

    @property
    def state(self) -> Path:
        """What the daemon remembers."""
        return self.folder / "state.db"

    @property
    def log(self) -> Path:
        """What the daemon logs."""
        return self.folder / "daemon.log"


@dataclass(frozen=True, slots=True)
class Stage:
    """A sync system at work, the daemon that reads its log, the sinks that it tells, and its books."""

    system: SyncSystem
    working: asyncio.Task[None]
    child: Child
    sinks: Sinks
    ledger: Ledger

    @property
    def inbox(self) -> Inbox:
        """What arrived."""
        return self.sinks.inbox


@contextlib.asynccontextmanager
async def prepared(place: Place, terminal: Terminal) -> AsyncIterator[Stage]:
    """A stage on which everything runs and nothing has failed yet."""
    async with contextlib.AsyncExitStack() as stack:
        listening = await stack.enter_async_context(sinks.listening())
        system = stack.enter_context(contextlib.closing(SyncSystem(place.sync_log)))
        health_port = child.free_port()
        settings_file.write(
            place.settings, http_port=listening.http_port, smtp_port=listening.smtp_port, health_port=health_port
        )
        daemon = await stack.enter_async_context(child.running(place.settings, place.log, health_port))
        with terminal.waiting("the daemon starts …"):
            await daemon.ready()
        books = stack.enter_context(ledger.opened(sqlite_url(place.state)))
        working = stack.enter_context(_at_work(system))
        yield Stage(system, working, daemon, listening, books)


@contextlib.contextmanager
def _at_work(system: SyncSystem) -> Iterator[asyncio.Task[None]]:
    working = asyncio.create_task(system.work(), name="sync system")
    try:
        yield working
    finally:
        working.cancel()
