"""`bare_httpx.py URL BODIES CONNECTIONS`: POST each body (a JSON string per line), and do nothing else at all."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx


async def main(url: str, bodies: list[bytes], connections: int) -> None:
    """So many workers take the bodies one after another."""
    waiting = iter(bodies)
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=30) as client:

        async def work() -> None:
            for body in waiting:
                answer = await client.post(url, content=body, headers={"content-type": "application/json"})
                answer.raise_for_status()

        await asyncio.gather(*(work() for _ in range(connections)))


if __name__ == "__main__":
    url, bodies, connections = sys.argv[1:]
    lines = Path(bodies).read_text().splitlines()
    asyncio.run(main(url, [json.loads(line).encode() for line in lines], int(connections)))
