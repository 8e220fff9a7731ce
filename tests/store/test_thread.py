"""The store thread: what the database refuses is a StoreError, and a bug of ours stays what it is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from peewee import IntegrityError

from notifyd.store.database import Database, StoreError
from notifyd.store.thread import StoreThread

TWICE = "INSERT INTO windows (config_id, group_key, until) VALUES ('ops', 'g', '')"


@pytest.fixture
async def store(db: Database) -> AsyncIterator[StoreThread]:
    thread = StoreThread(db)
    yield thread
    await thread.close()


def write_twice(db: Database) -> None:
    with db.transaction():
        db.run(TWICE)
        db.run(TWICE)


async def test_a_row_that_is_there_twice_is_a_bug_with_its_traceback(store: StoreThread) -> None:
    with pytest.raises(IntegrityError) as bug:
        await store(write_twice)
    assert any(entry.name == "write_twice" for entry in bug.traceback)


async def test_what_the_database_refuses_is_one_line(store: StoreThread) -> None:
    def read_only(db: Database) -> None:
        db.run("PRAGMA query_only = 1")
        db.run(TWICE)

    with pytest.raises(StoreError, match="cannot be used: attempt to write a readonly database"):
        await store(read_only)
