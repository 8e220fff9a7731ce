"""A state DB of every schema that there ever was comes up to date, with all that is in it, and a copy from before.

tests/store/schemas/ holds one for each, as SQL: made by the notifyd of its time, with events told, dead, dropped, held
and waiting, a streak, and a row that is watched. A new migration brings its own:
`.venv/bin/python -m tests.store.test_schema` writes that of today.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from notifyd.core.detect import detect
from notifyd.core.memory import Memory
from notifyd.core.rules import Rules
from notifyd.model import Drop, Hold, Result
from notifyd.store import audit, configs, copies, migrations, schema
from notifyd.store.configs import Provisioned
from notifyd.store.database import Database, open_database
from notifyd.store.errors import StateUnusable, StoreError
from tests.core.findings import finding
from tests.core.logs import RUNS, at, row
from tests.store.state import OPS, State
from tests.store.test_database import written_down

SCHEMAS = Path(__file__).with_name("schemas")
MIGRATIONS = sorted(file.stem for file in Path(str(migrations.__file__)).parent.glob("0*.py"))
NUMBERS = [name[:4] for name in MIGRATIONS]


def made(number: str, path: Path) -> Path:
    """The state DB of a schema."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript((SCHEMAS / f"{number}.sql").read_text())
        database.execute("PRAGMA journal_mode = WAL")
    path.chmod(0o600)
    return path


def counted(path: Path) -> Counter[str]:
    """How many rows each table has that was there at the first."""
    tables = ("events", "deliveries", "verdicts", "notification_history", "streaks", "runs", "watched", "counts")
    with closing(sqlite3.connect(path)) as database:
        return Counter({table: database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in tables})


def test_there_is_one_of_every_schema() -> None:
    assert sorted(file.stem for file in SCHEMAS.glob("*.sql")) == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_it_comes_up_to_date_with_all_that_is_in_it(number: str, tmp_path: Path, db: Database) -> None:
    path = made(number, tmp_path / "old.db")
    before = counted(path)
    with closing(open_database(f"sqlite:///{path}", create=True)) as upgraded:
        assert written_down(upgraded) == written_down(db)
        assert counted(path) == before
        assert audit.status(upgraded, at(0)).differences == []
        state = State(upgraded, (OPS,))
        state.now = at(24 * 60)
        assert {"held", "waits"} <= {event for told in state.send() for event in told}
        state.check_books()


@pytest.mark.parametrize("number", NUMBERS[:-1])
def test_a_copy_is_made_before(number: str, tmp_path: Path) -> None:
    path = made(number, tmp_path / "old.db")
    before = counted(path)
    with closing(open_database(f"sqlite:///{path}", create=True)) as upgraded:
        assert upgraded.kept == tmp_path / f"old.db.before-{MIGRATIONS[NUMBERS.index(number) + 1]}"
        assert upgraded.kept.stat().st_mode & 0o077 == 0
        assert counted(upgraded.kept) == before
        assert copies.is_sound(upgraded.kept) is None
        schema.refuse_foreign(upgraded.kept)
    with closing(open_database(f"sqlite:///{path}", create=True)) as again:
        assert again.kept is None


def test_a_new_one_needs_no_copy(db: Database, tmp_path: Path) -> None:
    assert db.kept is None
    assert sorted(file.name for file in tmp_path.glob("*before*")) == []


def test_where_there_is_no_room_for_the_copy_nothing_is_upgraded(tmp_path: Path) -> None:
    path = made(NUMBERS[0], tmp_path / "old.db")
    (tmp_path / f"old.db.before-{MIGRATIONS[1]}.part").mkdir()  # as good as a full disk
    with pytest.raises(StoreError, match="cannot be copied"):
        open_database(f"sqlite:///{path}", create=True)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM schema_migration").fetchall() == [(MIGRATIONS[0],)]


def test_a_crash_between_leaves_the_one_or_the_other(tmp_path: Path) -> None:
    """Each migration is one transaction: what stands in the way of its last statement undoes the first."""
    path = made(NUMBERS[0], tmp_path / "old.db")
    with closing(sqlite3.connect(path)) as database:
        database.execute('CREATE TABLE "notification_history_failed" (x)')  # the name of an index that 0002 makes
        before = database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    with pytest.raises(StoreError, match="cannot be used"):
        open_database(f"sqlite:///{path}", create=True)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall() == before
        database.execute('DROP TABLE "notification_history_failed"')
    open_database(f"sqlite:///{path}", create=True).close()


def test_a_newer_one_names_the_copy_from_before(tmp_path: Path) -> None:
    path = made(NUMBERS[0], tmp_path / "old.db")
    with closing(open_database(f"sqlite:///{path}", create=True)) as upgraded:
        upgraded.run("INSERT INTO schema_migration (name, applied) VALUES ('0999_from_the_future', '2030-01-01')")
        kept = upgraded.kept
    with pytest.raises(StateUnusable, match="newer notifyd") as refusal:
        open_database(f"sqlite:///{path}", create=True)
    assert str(kept) in str(refusal.value)


def lived(path: Path) -> None:
    """A state DB of today, with something of everything."""
    with closing(open_database(f"sqlite:///{path}", create=True)) as db:
        state = State(db)
        keys = {"config": "{}", "filters": "{}", "group": "{}"}
        config = Provisioned("ops", "webhook", enabled=True, system=False, **keys)
        configs.provision(db, [config], state.now)
        log = [*(row(n, "failure", n) for n in range(4)), row(9, "running", 9)]
        state.commit(detect(Memory(), log, Rules(), RUNS))
        state.send()
        state.tell(finding("dead", connector_id="dead"))
        state.settle(state.turn(), Result.REJECTED, "410 Gone")
        verdicts = {("mild", "ops"): Drop("too mild"), ("held", "ops"): Hold(at(24 * 60), "at night")}
        waits = (finding("held", connector_id="qb"), finding("waits", connector_id="woo"))
        state.tell(finding("mild"), *waits, verdicts=verdicts)
        state.settle(state.turn(), Result.RETRY, "503 Service Unavailable", retry_in=timedelta(minutes=5))


def write_todays() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        lived(path)
        with closing(sqlite3.connect(path)) as database:
            text = "\n".join(database.iterdump())
    (SCHEMAS / f"{NUMBERS[-1]}.sql").write_text(text + "\n")


if __name__ == "__main__":
    write_todays()
