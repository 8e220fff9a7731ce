"""SIGKILL at 500 random moments while 10,000 failing rows arrive: nothing is lost, only what was in flight repeats."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.report import Report, main, say
from tests.system.kill import Chaos

KILLS = 500
FAILURES = 10_000


async def measure(seed: int) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Path(folder), seed=seed, kills=KILLS, failures=FAILURES, say=say)
        await chaos.run()
        faults = chaos.faults()
        for fault in faults:
            say(f"✗ {fault}")
        figures = chaos.figures()
        return Report(
            figures,
            {
                f"{KILLS} kills while {FAILURES:,} failing rows arrive": figures["failing_rows"] >= FAILURES,
                "no event is lost, none is found twice, each delivery arrives, the books balance": not faults,
                "what is repeated was in flight at a kill, and has the same id": (
                    not faults and figures["repeats"] <= figures["in_flight_at_a_kill"]
                ),
            },
        )


if __name__ == "__main__":
    asyncio.run(main("kill", measure))
