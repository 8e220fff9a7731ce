"""Many writers at once, on each kind of database: nothing is missed, nothing is told twice.

The large run, with transactions of more than 30 s, is `tests/bench/bench_sources_fuzz.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sources.servers import KINDS
from tests.sources.workload import Load, create, run, source_of

LOAD = Load(seed=20261124, rows=3_000, long=0.8)
MORE = 'gap_horizon = "2s"\noverlap = "20s"\n'


@pytest.mark.parametrize("cursor", ["auto", "timestamp"])
@pytest.mark.parametrize("kind", ["postgresql", "mysql", "sqlite"])
def test_nothing_is_missed_and_nothing_is_told_twice(kind: str, cursor: str, tmp_path: Path) -> None:
    try:
        opened = KINDS[kind]()
        server = opened.__enter__()
    except OSError as error:
        pytest.skip(str(error))
    key = "name" if kind == "sqlite" or cursor == "timestamp" else "id"  # by rowid, and by time
    create(server)
    source = source_of(server, tmp_path, key, f'{MORE}cursor = "{cursor}"')
    outcome = run(server, source, LOAD, key, watches=cursor != "timestamp")
    opened.__exit__(None, None, None)
    assert outcome.rows > 2_000
    assert kind == "sqlite" or outcome.naive > 0, "a naive reader has missed some, so the load is hard enough"
    assert (outcome.missed, outcome.twice, outcome.ghosts) == ([], [], []), outcome.told.notes
