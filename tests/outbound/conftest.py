"""What the tests of the way out share."""

from __future__ import annotations

import contextlib
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from notifyd.outbound import HttpClient
from tests.outbound import ways
from tests.sinks.http import HttpSink


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """Every test twice."""
    return ways.LOOPS


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with contextlib.aclosing(ways.http_client(timeout=5)) as client:
        yield client


@pytest.fixture
async def sink() -> AsyncIterator[HttpSink]:
    async with HttpSink() as sink:
        yield sink
