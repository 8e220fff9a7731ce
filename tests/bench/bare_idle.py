"""`bare_idle.py LOG…`: APScheduler asks each log (SQLite, `jobs`) for new rows every second, on a thread of its own; no
more. It prints "ready", and goes on until it is told to end."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor

from apscheduler.schedulers.asyncio import AsyncIOScheduler

NEW_ROWS = "SELECT * FROM jobs WHERE id > 0 ORDER BY id LIMIT 500"


class Asked:
    """A log, its connection and its thread."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._thread = ThreadPoolExecutor(1)

    async def ask(self) -> None:
        """See what is new."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._select)

    def _select(self) -> None:
        self._connection.execute(NEW_ROWS).fetchall()


async def main(paths: list[str]) -> None:
    """Ask them all, for ever."""
    scheduler = AsyncIOScheduler()
    for path in paths:
        scheduler.add_job(Asked(path).ask, "interval", seconds=1)
    scheduler.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
