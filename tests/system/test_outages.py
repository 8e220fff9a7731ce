"""Writers fill a log while the daemon that reads it is killed: a small `tests/bench/bench_sources_kill.py`."""

from __future__ import annotations

from pathlib import Path

from tests.sources import servers
from tests.sources.workload import Load
from tests.system.outages import Outages

KILLS = 3


async def test_a_log_that_is_written_while_the_daemon_is_killed(tmp_path: Path) -> None:
    load = Load(seed=20261124, rows=100_000, long=0.5, long_share=0.01, pause=0.1, outages=True)
    with servers.sqlite() as server:
        outages = Outages(
            tmp_path,
            {"sqlite": server},
            {},
            seed=20261124,
            kills=KILLS,
            restarts=0,
            load=load,
            windows=("1s", "1s"),
            life=2.4,
        )
        await outages.run()
        assert outages.faults() == []
        figures = outages.figures()
    assert figures["kills"] == KILLS
    assert figures["kills_before_which_rows_were_read"]["sqlite"] > 0, "it was killed at work, not only at its start"
