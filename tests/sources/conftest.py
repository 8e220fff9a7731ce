from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from notifyd.sources import Source
from tests.sources.logs import JOBS, JOBS_MAPPING, Log


@pytest.fixture
def jobs(tmp_path: Path) -> Log:
    """A small job log with an integer key."""
    return Log(tmp_path / "jobs.db", JOBS)


@pytest.fixture
def source(jobs: Log) -> Iterator[Source]:
    """A source that reads `jobs` from its beginning."""
    source = jobs.source(JOBS_MAPPING)
    yield source
    source.close()
