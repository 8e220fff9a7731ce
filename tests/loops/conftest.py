"""A daemon inside the test: real logs, real sinks, a real state DB; only the clock can be put forward."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from notifyd.clock import utc_now
from notifyd.daemon import Daemon
from notifyd.observe import logs
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog, SyncLog
from tests.store import fresh
from tests.system.site import Site

Running = Callable[[], AbstractAsyncContextManager[Daemon]]


class Clock:
    """The wall clock, and as far ahead of it as the test has gone."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead

    def forward(self, daemon: Daemon, **by: float) -> None:
        """Let time pass: `clock.forward(daemon, minutes=5)`. The sender looks again at once."""
        self.ahead += timedelta(**by)
        daemon.sender.wake()


class Said:
    """What the daemon has logged so far."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    def __call__(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The lines whose text holds `event` and that have these fields."""
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in lines if event in line["event"] and fields.items() <= line.items()]

    @property
    def tracebacks(self) -> int:
        return self._stream.getvalue().count("Traceback")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said() -> Iterator[Said]:
    stream = io.StringIO()
    logs.configure("info", stream, environ={})
    yield Said(stream)
    structlog.reset_defaults()
    for handler in list(logging.getLogger().handlers):
        if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
            logging.getLogger().removeHandler(handler)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobLog]:
    with JobLog(tmp_path / "jobs.db") as log:
        yield log


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SyncLog]:
    with SyncLog(tmp_path / "shop.db") as log:
        yield log


@pytest.fixture
async def sink() -> AsyncIterator[HttpSink]:
    async with HttpSink() as sink:
        yield sink


@pytest.fixture
def running(site: Site, clock: Clock, said: Said) -> Running:
    """`async with running() as daemon:` a daemon on the site's settings file, ready; stopped at the end."""

    @asynccontextmanager
    async def run() -> AsyncIterator[Daemon]:
        fresh.put(site.state)
        daemon = Daemon(site.settings(), clock)
        await daemon.start()
        try:
            await daemon.ready()
            yield daemon
        finally:
            await daemon.stop()

    return run
