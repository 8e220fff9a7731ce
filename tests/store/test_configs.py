"""The configs of the settings file in the state DB."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import peewee
import pytest

from notifyd.core.ids import config_id
from notifyd.core.plan import Recipient
from notifyd.model import Hold
from notifyd.store import configs
from notifyd.store.configs import Provisioned
from notifyd.store.database import Database
from tests.core.findings import finding
from tests.core.logs import NOON, at
from tests.store.state import State

OPS = Provisioned("ops", "slack", enabled=True, config="{}", filters="{}", group="{}", system=False)
DEV = replace(OPS, name="dev", notification_type="webhook")


def known(db: Database) -> dict[str, tuple[str, bool, bool]]:
    """Type, enabled and deleted, by name."""
    found = db.run("SELECT name, notification_type, enabled, deleted_at FROM notification_configs ORDER BY name")
    return {name: (kind, bool(enabled), deleted is not None) for name, kind, enabled, deleted in found}


@pytest.fixture
def busy(db: Database) -> State:
    """Both configs have something waiting and something held."""
    configs.provision(db, [OPS, DEV], NOON)
    state = State(db, [Recipient(config_id(name), name) for name in ("ops", "dev")])
    hold = {("9", config_id(name)): Hold(at(60), "night") for name in ("ops", "dev")}
    state.tell(*(finding(str(n)) for n in range(3)), finding("9"), verdicts=hold)
    return state


def waiting(state: State, name: str) -> set[str]:
    return {delivery.state for delivery in state.deliveries if delivery.config == config_id(name)}


def test_they_are_there_once_and_as_the_file_says(db: Database) -> None:
    configs.provision(db, [OPS, DEV], NOON)
    configs.provision(db, [replace(OPS, notification_type="email"), DEV], at(1))
    assert known(db) == {"ops": ("email", True, False), "dev": ("webhook", True, False)}
    sql = "SELECT id, provisioned, created_at FROM notification_configs WHERE name = 'ops'"
    assert db.run(sql) == [(config_id("ops"), 1, "2026-11-24T12:00:00.000000Z")]


def test_one_is_updated_when_it_changes_and_not_at_every_start(db: Database) -> None:
    configs.provision(db, [OPS, DEV], NOON)
    configs.provision(db, [OPS, replace(DEV, filters='{"connectors":["woo"]}')], at(1))
    updated = dict(db.run("SELECT name, updated_at FROM notification_configs"))
    assert updated == {"ops": "2026-11-24T12:00:00.000000Z", "dev": "2026-11-24T12:01:00.000000Z"}


def test_one_that_is_gone_is_kept_as_deleted_and_what_waits_is_cancelled(busy: State) -> None:
    configs.provision(busy.db, [DEV], at(1))
    assert known(busy.db)["ops"] == ("slack", True, True)
    assert (waiting(busy, "ops"), waiting(busy, "dev")) == ({"cancelled"}, {"pending", "gathering"})
    assert busy.decided("9", config_id("ops")) == ("dropped", "its config was deleted")
    busy.check_books()


def test_its_history_stays(busy: State) -> None:
    busy.settle(busy.turn())
    configs.provision(busy.db, [], at(1))
    assert len(busy.db.run("SELECT id FROM notification_history")) == 2


def test_one_that_is_off_has_what_waits_cancelled(busy: State) -> None:
    configs.provision(busy.db, [replace(OPS, enabled=False), DEV], at(1))
    assert known(busy.db)["ops"] == ("slack", False, False)
    assert (waiting(busy, "ops"), waiting(busy, "dev")) == ({"cancelled"}, {"pending", "gathering"})
    assert busy.decided("9", config_id("ops")) == ("dropped", "its config was disabled")
    busy.check_books()


def test_one_that_comes_back_is_itself_again(db: Database) -> None:
    configs.provision(db, [OPS], NOON)
    configs.provision(db, [], at(1))
    configs.provision(db, [OPS], at(2))
    assert known(db) == {"ops": ("slack", True, False)}


def test_one_that_was_made_through_the_api_is_left_alone(db: Database) -> None:
    configs.provision(db, [OPS], NOON)
    db.run("UPDATE notification_configs SET provisioned = 0")
    configs.provision(db, [], at(1))
    assert known(db) == {"ops": ("slack", True, False)}


def test_a_start_that_fails_half_way_changes_nothing(busy: State) -> None:
    """Else what waits for a deleted config would wait for ever: the next start would not look at it again."""
    burn = "SELECT RAISE(ABORT, 'disk on fire')"
    busy.db.run(f"CREATE TRIGGER fail BEFORE UPDATE ON deliveries BEGIN {burn}; END")
    with pytest.raises((peewee.IntegrityError, sqlite3.IntegrityError), match="disk on fire"):
        configs.provision(busy.db, [DEV], at(1))
    assert known(busy.db)["ops"] == ("slack", True, False)
    busy.db.run("DROP TRIGGER fail")
    configs.provision(busy.db, [DEV], at(2))
    assert waiting(busy, "ops") == {"cancelled"}
