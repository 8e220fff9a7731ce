"""What tests of whole processes stand on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
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


@pytest.fixture
def step(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """To be called at the end of each step of a long test; its seconds are in what --junitxml writes, as a property."""
    began = time.monotonic()

    def ended(name: str) -> None:
        nonlocal began
        request.node.user_properties.append((name, f"{time.monotonic() - began:.1f}"))
        began = time.monotonic()

    return ended
