"""What the tests of the way out share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from notifyd.outbound import HttpClient
from tests.sinks.http import HttpSink


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with contextlib.aclosing(HttpClient(timeout=5)) as client:
        yield client


@pytest.fixture
async def sink() -> AsyncIterator[HttpSink]:
    async with HttpSink() as sink:
        yield sink
