from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from notifyd.sources import Source
from tests.sources import servers
from tests.sources.logs import JOBS, JOBS_MAPPING, Log
from tests.sources.servers import Server


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


@pytest.fixture
def postgres() -> Iterator[Server]:
    """An empty PostgreSQL database."""
    with servers.postgres() as server:
        yield server


@pytest.fixture
def mariadb() -> Iterator[Server]:
    """An empty MariaDB database; skips where no server runs."""
    try:
        opened = servers.mariadb()
        server = opened.__enter__()
    except OSError as error:
        pytest.skip(str(error))
    yield server
    opened.__exit__(None, None, None)


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> Server:
    """An empty database of each kind of server."""
    opened: Server = request.getfixturevalue(request.param)
    return opened
