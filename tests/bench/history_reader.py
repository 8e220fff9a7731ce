"""`history_reader.py PORT TOKEN RATE`: reads pages of the history, so many a second, from one line of its standard
input to the next, and then again.

Open loop: a page is asked for when it is time, whether the one before has come or not. After each time it prints how
many came, how many that were a second, and how long the middle one took, in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from statistics import median

CONNECTIONS = 8
BASE = "/api/notifications/history"
NEWEST = 1_000_000

chance = random.Random(20261124)


def page() -> str:
    """What people ask for: the newest, a page somewhere behind it, and what a filter finds."""
    before = f"?before={chance.randrange(1000, NEWEST)}"
    return BASE + chance.choice(
        ["", "", before, before, f"{before}&severity=critical", "?success=false", "?connector_id=woo&limit=20"]
    )


class Reader:
    """One connection, on which one page is read after another."""

    async def open(self, port: int, token: str) -> None:
        self.head = f" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)

    async def read(self, path: str) -> None:
        self.writer.write(f"GET {path}{self.head}".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await self.reader.readexactly(int(length.split()[1]))


async def main(port: int, token: str, rate: float) -> None:
    idle: asyncio.Queue[Reader] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        reader = Reader()
        await reader.open(port, token)
        idle.put_nowait(reader)
    while await _line():
        print(json.dumps(await read(idle, rate)), flush=True)


def _line() -> asyncio.Future[str]:
    return asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def read(idle: asyncio.Queue[Reader], rate: float) -> dict[str, float]:
    """Read until the next line."""
    took: list[float] = []
    tasks: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        reader = await idle.get()
        await reader.read(page())
        idle.put_nowait(reader)
        took.append(time.perf_counter() - due)

    ended = _line()
    due = begun = time.perf_counter()
    while not ended.done():
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks)
    seconds = time.perf_counter() - begun
    return {"pages": len(took), "per_second": len(took) / seconds, "median_ms": median(took) * 1000}


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
