"""What tests of whole processes stand on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobLog]:
    with JobLog(tmp_path / "jobs.db") as log:
        yield log


@pytest.fixture
async def sink() -> AsyncIterator[HttpSink]:
    async with HttpSink() as sink:
        yield sink
