"""A state DB of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from notifyd.settings import sqlite_path
from notifyd.store.database import Database, open_database
from tests.store import fresh
from tests.store.state import State


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where the state DB is, or will be."""
    return f"sqlite:///{tmp_path}/state.db"


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    """A new state DB."""
    fresh.put(sqlite_path(url))
    database = open_database(url, create=True)
    yield database
    database.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One state DB for all examples of a property; each empties it first."""
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('shared')}/state.db", create=True)
    yield database
    database.close()


@pytest.fixture
def state(db: Database) -> State:
    """A state DB at work: a source at its start, and one config, ops, with a window of five minutes."""
    return State(db)
