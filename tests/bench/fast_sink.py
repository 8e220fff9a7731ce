"""An HTTP sink in a process of its own that is not the bottleneck: it answers 200 and counts, and does nothing else.

It prints its port. For each line that it is given it prints, as JSON, how many requests came, how many different
notifications they told (by the "job N" in their bodies), and when the first and the last came, in seconds of the
system's monotonic clock. `python fast_sink.py --ceiling PORT REQUESTS` asks it as fast as it can be asked.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import cast

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")
_TOLD = re.compile(rb"job (\d+)")

REQUEST = b"POST /hook HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1500\r\n\r\n"
CONNECTIONS, AT_ONCE = 8, 8


class Count:
    """Of the requests so far."""

    def __init__(self) -> None:
        self.requests = 0
        self.told: set[bytes] = set()
        self.first = self.last = 0.0

    def came(self, body: bytes) -> None:
        self.requests += 1
        if found := _TOLD.search(body):
            self.told.add(found[1])
        self.last = time.monotonic()
        self.first = self.first or self.last

    def tell(self) -> None:
        """Answer one line."""
        if not sys.stdin.readline():
            sys.exit()  # nobody is there any more
        told = {"requests": self.requests, "told": len(self.told), "first": self.first, "last": self.last}
        print(json.dumps(told), flush=True)


class Connection(asyncio.Protocol):
    """One connection, on which requests may follow each other without a wait."""

    def __init__(self, count: Count) -> None:
        self._count, self._read = count, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        read, answers = self._read + data if self._read else data, 0
        while (head := read.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(read, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(read) < end:
                break
            self._count.came(read[head + 4 : end])
            read, answers = read[end:], answers + 1
        self._read = read
        if answers:
            self._transport.write(ANSWER * answers)


async def serve() -> None:
    """Until it is killed."""
    count, loop = Count(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(count), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.add_reader(sys.stdin.fileno(), count.tell)
    await server.serve_forever()


async def ask(port: int, requests: int) -> None:
    """Ask for nothing but speed."""

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(requests // CONNECTIONS // AT_ONCE):
            writer.write((REQUEST + b"x" * 1500) * AT_ONCE)
            await reader.readexactly(len(ANSWER) * AT_ONCE)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))


if __name__ == "__main__":
    uvloop.run(ask(int(sys.argv[2]), int(sys.argv[3])) if "--ceiling" in sys.argv else serve())
