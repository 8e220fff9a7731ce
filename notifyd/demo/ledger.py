"""The state DB, as the demonstration reads it while the daemon writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from notifyd.core.ids import config_id
from notifyd.demo.inbox import PATIENCE, Missing
from notifyd.demo.settings_file import SOURCE
from notifyd.store import books, reads, trace
from notifyd.store.database import Database

_LOOK = 0.05  # seconds between two looks at the books


class Ledger:
    """The books and verdicts of a state DB."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def of_source(self, what: str) -> int:
        """A count of the source's books."""
        return books.read(self.database).get(f"source:{SOURCE}", {}).get(what, 0)

    async def counts(self, config: str, what: str, value: int) -> None:
        """Wait until a count of a config's books has reached a value. Raises Missing if it never does."""
        scope = f"config:{config_id(config)}"
        await self.until(
            lambda: books.read(self.database).get(scope, {}).get(what, 0) >= value, f"{value} {what} for {config}"
        )

    def why_not(self, event: str, config: str) -> str:
        """Why a config was not told of an event. Raises Missing if it was."""
        traced = trace.trace(self.database, event)
        for verdict in traced.events[0].verdicts if traced else ():
            if verdict.config_name == config and verdict.delivery is None:
                return verdict.reason
        raise Missing(f"{config} was to be left out of event {event}")

    async def until(self, true: Callable[[], bool], what: str) -> None:
        """Look again and again until it is true. Raises Missing, naming what was awaited, if it never is."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not true():  # noqa: ASYNC110 (another process writes it)
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            raise Missing(f"{what}: not within {PATIENCE:g} s") from None


@contextmanager
def opened(state: str) -> Iterator[Ledger]:
    """The ledger of a state DB that is there."""
    with reads.opened(state) as database:
        yield Ledger(database)
