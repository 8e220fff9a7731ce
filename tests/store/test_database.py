"""Opening the state DB: its schema, what stands in the way, and the lock of the one daemon."""

from __future__ import annotations

import fcntl
import resource
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from playhouse.schema_diff import diff_models

from notifyd.store.database import Database, StoreError, open_database
from notifyd.store.lock import Lock
from notifyd.store.models import TABLES


def refused(url: str, *, create: bool = True) -> str:
    """Why it cannot be opened: one line."""
    with pytest.raises(StoreError) as refusal:
        open_database(url, create=create, patience=0.1)
    text = str(refusal.value)
    assert "\n" not in text
    return text


# -- the schema ----------------------------------------------------------------------------------


def test_the_migrations_make_what_the_models_say(db: Database) -> None:
    with db.peewee.bind_ctx(TABLES):
        found = diff_models(db.peewee, TABLES)
    # It does not know the partial indexes, as the models declare them in SQL: the next test does.
    assert not found._replace(drop_indexes=[index for index in found.drop_indexes if index.columns])


def test_that_holds_for_types_nulls_keys_and_partial_indexes_too(db: Database, tmp_path: Path) -> None:
    """As SQLite itself wrote them down; the order in which they were made is of no matter."""
    fresh = Database(tmp_path / "models.db")
    with fresh.peewee.bind_ctx(TABLES):
        fresh.peewee.create_tables(TABLES)
    try:
        assert written_down(db) == written_down(fresh)
    finally:
        fresh.close()


def written_down(db: Database) -> set[str]:
    sql = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name NOT IN (?, ?)"
    return {row[0] for row in db.run(sql, ["schema_migration", "sqlite_sequence"])}


def test_opening_it_again_changes_nothing(db: Database, url: str) -> None:
    before = written_down(db)
    for create in (True, False):
        again = open_database(url, create=create)
        assert written_down(again) == before
        again.close()


def test_it_is_kept_safe_and_private(db: Database) -> None:
    assert db.run("PRAGMA journal_mode") == [("wal",)]
    assert db.run("PRAGMA synchronous") == [(2,)]
    assert db.path.stat().st_mode & 0o077 == 0


def test_its_folder_is_made(tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path}/new/er/state.db", create=True).close()
    assert (tmp_path / "new/er/state.db").is_file()


# -- what stands in the way ----------------------------------------------------------------------


def test_one_that_a_newer_notifyd_made_is_refused(db: Database, url: str) -> None:
    db.run("INSERT INTO schema_migration (name, applied) VALUES ('0999_from_the_future', '2030-01-01')")
    for create in (True, False):
        text = refused(url, create=create)
        assert str(db.path) in text
        assert "newer notifyd (it has 0999_from_the_future)" in text
        assert "upgrade notifyd" in text


def test_one_that_is_older_is_upgraded_by_the_daemon_alone(db: Database, url: str) -> None:
    db.run("DELETE FROM schema_migration")
    for table in TABLES:
        db.run(f'DROP TABLE "{table._meta.table_name}"')
    assert "older than this notifyd: start the daemon once" in refused(url, create=False)
    upgraded = open_database(url, create=True)
    assert upgraded.run("SELECT COUNT(*) FROM events") == [(0,)]
    upgraded.close()


def test_a_reader_makes_none(url: str, tmp_path: Path) -> None:
    text = refused(url, create=False)
    assert text.startswith(f"there is no state DB at {tmp_path}/state.db: the daemon has not run yet")
    assert list(tmp_path.iterdir()) == []


def test_a_directory(tmp_path: Path) -> None:
    for create in (True, False):
        assert "it is a directory" in refused(f"sqlite:///{tmp_path}", create=create)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("Dear diary, " * 100)
    for create in (True, False):
        text = refused(f"sqlite:///{tmp_path}/state.db", create=create)
        assert text.startswith(
            f"the state DB {tmp_path}/state.db cannot be used: file is not a database; `notifyd restore`"
        )


def test_a_database_of_somebody_else_s_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as shop:
        shop.execute("CREATE TABLE sync_log (id INTEGER PRIMARY KEY)")
    before = path.read_bytes()
    for create in (True, False):
        text = refused(f"sqlite:///{path}", create=create)
        assert "it is a database of something else, with the table sync_log; daemon.state names a file of" in text
    assert path.read_bytes() == before


def test_a_file_with_two_names_is_refused_by_the_daemon(db: Database, url: str, tmp_path: Path) -> None:
    db.close()
    (tmp_path / "other.db").hardlink_to(db.path)
    for each in (url, f"sqlite:///{tmp_path}/other.db"):
        assert "the file has 2 names (hard links)" in refused(each)
    open_database(url, create=False).close()
    (tmp_path / "other.db").unlink()
    open_database(url, create=True).close()


def test_a_database_that_is_cut_off(db: Database, tmp_path: Path) -> None:
    db.close()
    (tmp_path / "cut.db").write_bytes(db.path.read_bytes()[:6000])
    assert "malformed" in refused(f"sqlite:///{tmp_path}/cut.db")


def test_a_file_where_its_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    text = refused(f"sqlite:///{tmp_path}/folder/state.db")
    assert text.endswith(f"cannot be used: File exists ({tmp_path}/folder)")


def test_one_that_another_program_has_locked(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with exclusively(path):
        assert refused(f"sqlite:///{path}").startswith(
            f"the state DB {path} cannot be used: database is locked: another process holds it, which `fuser -v`"
        )
    open_database(f"sqlite:///{path}", create=True).close()


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


# -- transactions --------------------------------------------------------------------------------


def test_a_transaction_waits_for_another_writer(db: Database) -> None:
    """A deferred one would fail at once, once it came to write."""
    writing, done = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with closing(sqlite3.connect(db.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writing.set()
            done.wait(0.2)
            other.execute("COMMIT")

    thread = threading.Thread(target=write_slowly)
    thread.start()
    writing.wait()
    with db.transaction():
        db.run("SELECT COUNT(*) FROM counts")
        db.run("INSERT INTO counts (scope, what, value) VALUES ('a', 'b', 1)")
    thread.join()


def test_a_transaction_that_fails_leaves_nothing(db: Database) -> None:
    with suppress(ZeroDivisionError), db.transaction():
        db.run("INSERT INTO counts (scope, what, value) VALUES ('a', 'b', 1)")
        _ = 1 / 0
    assert db.run("SELECT * FROM counts") == []


# -- the lock ------------------------------------------------------------------------------------


def test_there_is_one_daemon(tmp_path: Path) -> None:
    one, two = Lock(tmp_path / "state.db"), Lock(tmp_path / "state.db")
    assert not one.held()
    assert one.take()
    assert two.held()
    assert not two.take()
    one.release()
    assert not two.held()
    assert two.take()
    two.release()


def test_asking_whether_a_daemon_is_alive_keeps_none_from_starting(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "state.db")
    lock.path.touch()
    with lock.path.open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        asked = threading.Timer(0.1, fcntl.flock, (asking, fcntl.LOCK_UN))
        asked.start()
        assert lock.take()
        asked.join()
    lock.release()


def test_whatever_leads_to_a_state_db_there_is_one_lock(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("folder/state.db")
    (tmp_path / "folder").mkdir()
    (tmp_path / "back").symlink_to("folder")
    lock = Lock(tmp_path / "link.db")
    assert lock.take()
    for name in ("link.db", "folder/state.db", "back/state.db"):
        assert not Lock(tmp_path / name).take()
    lock.release()


def test_releasing_twice_is_no_harm(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "state.db")
    assert lock.take()
    lock.release()
    lock.release()


def test_a_lock_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "state.db.lock").mkdir()
    with pytest.raises(StoreError, match=r"the lock file .*state\.db\.lock cannot be used: Is a directory"):
        Lock(tmp_path / "state.db").take()


def test_a_lock_file_that_cannot_be_written_forgets_nothing_and_is_let_go(tmp_path: Path) -> None:
    """As on a full disk: a state DB that was deleted afterwards would else be begun anew without a word."""
    lock = Lock(tmp_path / "state.db")
    assert lock.take()
    lock.remember()
    lock.release()
    with no_room_in_files(), pytest.raises(StoreError, match="the lock file"):
        lock.take()
    assert lock.remembers()
    assert not lock.held()
    assert lock.take()
    lock.release()


@contextmanager
def no_room_in_files() -> Iterator[None]:
    """While this lasts, every write of this process to a file fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
