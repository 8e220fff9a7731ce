"""SIGKILL at 200 random moments, and 20 restarts of each server, while 8 writers fill each kind of log: none lost."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.report import Report, main, say
from tests.sources import servers
from tests.sources.own_servers import own_mariadb, own_postgres
from tests.sources.workload import Load
from tests.system.outages import Outages

KILLS, RESTARTS = 200, 20


async def measure(seed: int) -> Report:
    load = Load(seed, rows=1_000_000, long=12.0, long_share=0.01, pause=3.0, outages=True)
    with ExitStack() as stack:
        postgres, postgres_machine = stack.enter_context(own_postgres())
        mariadb, mariadb_machine = stack.enter_context(own_mariadb())
        sqlite = stack.enter_context(servers.sqlite())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        outages = Outages(
            folder,
            {"postgresql": postgres, "mysql": mariadb, "sqlite": sqlite},
            {"postgresql": postgres_machine, "mysql": mariadb_machine},
            seed=seed,
            kills=KILLS,
            restarts=RESTARTS,
            load=load,
            say=say,
        )
        await outages.run()
        faults = outages.faults()
        for fault in faults:
            say(f"✗ {fault}")
        figures = outages.figures()
    return Report(
        figures,
        {
            f"{KILLS} kills of the daemon, {RESTARTS} restarts of each server": (
                figures["kills"] >= KILLS and figures["restarts_of_each_server"] >= RESTARTS
            ),
            "each row was read once; each that failed was found and told once, and delivered; the books balance": (
                not faults
            ),
        },
        ["rows that are deleted are in the other run, bench_sources_fuzz.py"],
    )


if __name__ == "__main__":
    asyncio.run(main("sources_kill", measure))
