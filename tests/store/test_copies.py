"""Copies of a state DB: whole or not there, also beside a writer; and what was deleted under who has it open."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from notifyd.store import copies, presence, schema
from notifyd.store.database import Database, open_database
from notifyd.store.errors import StateUnusable, StoreError
from notifyd.store.presence import Presence
from notifyd.store.vacuum import vacuum
from tests.core.logs import NOON


def count(db: Database, value: int = 1) -> None:
    with db.transaction():
        db.run("INSERT INTO counts (scope, what, value) VALUES (?, 'x', 1)", [f"s{value}"])
        db.run("INSERT INTO counts (scope, what, value) VALUES (?, 'y', 1)", [f"s{value}"])


def counts(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as database:
        return [row[0] for row in database.execute("SELECT COUNT(*) FROM counts GROUP BY what ORDER BY what")]


def test_a_copy_beside_a_writer_is_of_one_moment(db: Database, tmp_path: Path) -> None:
    written, done = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            count(db, number := number + 1)
            written.set()
        db.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        written.wait(5)
        for _ in range(5):
            copies.copy(db.path, tmp_path / "copy.db")
            one, other = counts(tmp_path / "copy.db")
            assert one == other > 0
    finally:
        done.set()
        writer.join()
    assert not (tmp_path / "copy.db-wal").exists()
    assert (tmp_path / "copy.db").stat().st_mode & 0o077 == 0


def test_what_cannot_be_copied_leaves_what_was_there(db: Database, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("before")
    (tmp_path / "torn.db").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    with pytest.raises(StoreError, match=r"torn\.db cannot be copied to .*copy\.db"):
        copies.copy(tmp_path / "torn.db", tmp_path / "copy.db")
    with pytest.raises(StateUnusable, match="there is no file"):
        copies.copy(tmp_path / "nothing.db", tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "before"
    assert not (tmp_path / "copy.db.part").exists()


def test_what_is_not_whole_is_seen(db: Database, tmp_path: Path) -> None:
    for number in range(2000):
        count(db, number)
    copies.copy(db.path, tmp_path / "copy.db")
    assert copies.is_sound(tmp_path / "copy.db") is None
    content = bytearray((tmp_path / "copy.db").read_bytes())
    content[-20_000:-4096] = b"\x55" * (20_000 - 4096)
    (tmp_path / "copy.db").write_bytes(content)
    assert copies.is_sound(tmp_path / "copy.db")
    with pytest.raises(StateUnusable, match="cannot be used as a state DB"):
        schema.refuse_foreign(tmp_path / "copy.db")


def test_a_database_of_something_else_is_no_state_db(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        shop.execute("CREATE TABLE orders (id)")
    with pytest.raises(StateUnusable, match="a database of something else"):
        schema.refuse_foreign(tmp_path / "shop.db")


def test_putting_one_back_keeps_the_old_with_all_that_was_in_its_wal(db: Database, url: str, tmp_path: Path) -> None:
    copies.copy(db.path, tmp_path / "copy.db")
    count(db)
    wal = db.path.with_name(db.path.name + "-wal").read_bytes()
    db.close()
    db.path.with_name(db.path.name + "-wal").write_bytes(wal)  # as a crash leaves it
    kept = copies.put_in_place(tmp_path / "copy.db", db.path, NOON)
    assert kept == tmp_path / "state.db.before-restore-20261124T120000Z"
    assert counts(kept) == [1, 1]
    assert counts(db.path) == []
    assert sorted(file.name for file in tmp_path.glob("state.db*")) == ["state.db", kept.name, "state.db.lock"]
    open_database(url, create=False).close()


def test_a_file_that_is_gone_or_another_is_noticed(db: Database, tmp_path: Path) -> None:
    watched = Presence(db.path)
    assert watched.trouble() is None
    db.path.rename(tmp_path / "elsewhere.db")
    assert watched.trouble() == "was deleted"
    db.path.touch()
    assert watched.trouble() == "was replaced by another file"
    db.path.unlink()
    (tmp_path / "elsewhere.db").rename(db.path)
    assert watched.trouble() is None


def test_what_was_deleted_is_saved_through_the_connection_that_has_it_open(db: Database) -> None:
    count(db)
    for side in copies.SIDES:
        db.path.with_name(db.path.name + side).unlink()
    count(db, 2)
    assert counts(presence.save(db, NOON)) == [2, 2]


def test_vacuum_gives_back_what_is_not_used(db: Database) -> None:
    with db.transaction():
        db.write_many(
            "INSERT INTO counts (scope, what, value) VALUES (?, ?, 1)", [(str(n), "x" * 500) for n in range(2000)]
        )
    with db.transaction():
        db.run("DELETE FROM counts")
    db.run("PRAGMA wal_checkpoint(TRUNCATE)")
    before, after = vacuum(db)
    assert after < before / 3
    assert after == db.path.stat().st_size
