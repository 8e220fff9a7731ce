"""A process that has imported all of notifyd, and forks a daemon whenever it is told to: one can be killed at once.

warm = await Warm(site.file).start()
pid = await warm.fork()                 # `notifyd run`, in a process of its own
await warm.kill(pid)                    # SIGKILL, and it has ended

What a daemon does before it has imported itself is nothing, so that a kill then tells nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]


class Warm:
    """See the module's docstring. `log` is where the daemons write."""

    def __init__(self, settings: Path) -> None:
        self.settings, self.log = settings, settings.with_suffix(".log")
        self._process: asyncio.subprocess.Process

    async def start(self) -> Self:
        """Import everything."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, __file__, str(self.settings)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
        await self._answer()
        return self

    async def fork(self) -> int:
        """A daemon; its process id."""
        return await self._ask("fork")

    async def kill(self, pid: int) -> None:
        """Kill it, and return once it is gone."""
        os.kill(pid, signal.SIGKILL)
        await self._ask(f"wait {pid}")

    async def close(self) -> None:
        """End the process; what it has forked is not its business."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def _ask(self, order: str) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n".encode())
        return await self._answer()

    async def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(await self._process.stdout.readline())


def obey(settings: Path) -> None:
    """The process's own side: orders on stdin, a number for each on stdout."""
    import psycopg  # noqa: F401
    import pymysql  # noqa: F401

    from notifyd.cli.run import run

    print(0, flush=True)
    for order in sys.stdin:
        word, *pids = order.split()
        if word == "wait":
            print(os.waitstatus_to_exitcode(os.waitpid(int(pids[0]), 0)[1]), flush=True)
        elif (pid := os.fork()) == 0:
            os.dup2(2, 1)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            try:
                run(settings)
            finally:
                os._exit(1)
        else:
            print(pid, flush=True)


if __name__ == "__main__":
    obey(Path(sys.argv[1]))
