"""A few SIGKILLs while failures arrive; `tests/bench/bench_kill.py` is the same with many."""

from __future__ import annotations

from pathlib import Path

from tests.system.kill import Chaos


async def test_what_a_kill_loses_and_repeats(tmp_path: Path) -> None:
    """Nothing is lost or found twice, and only what was in flight is repeated, with the same id."""
    chaos = Chaos(tmp_path, seed=20261124, kills=6, failures=600)
    await chaos.run()
    assert chaos.faults() == []
    figures = chaos.figures()
    assert figures["failing_rows"] >= 600
    assert figures["in_flight_at_a_kill"] > 0
