"""Secrets at rest: sealed, and opened again only with the key that they were sealed with."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from notifyd.store.database import StoreError
from notifyd.store.sealing import Seal

KEY = "0123456789abcdef" * 2


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "notifyd.db"


def refused(seal: Seal, sealed: str) -> str:
    with pytest.raises(StoreError) as refusal:
        seal.open(sealed, "ops")
    text = str(refusal.value)
    assert "\n" not in text
    assert KEY not in text
    return text


def test_what_is_sealed_can_be_opened_and_not_read(database: Path) -> None:
    sealed = Seal(database).seal("s3cret ä")
    assert "s3cret" not in sealed
    assert Seal(database).seal("s3cret ä") != sealed  # the same text, and nobody sees that it is
    assert Seal(database).open(sealed, "ops") == "s3cret ä"


def test_the_key_is_made_with_the_first_secret_for_its_owner_alone(database: Path) -> None:
    seal = Seal(database)
    assert not seal.file.exists()
    seal.seal("x")
    assert seal.file == database.with_name("notifyd.db.key")
    assert stat.S_IMODE(seal.file.stat().st_mode) == 0o600
    before = seal.file.read_text()
    Seal(database).seal("y")
    assert seal.file.read_text() == before


def test_a_key_that_is_given_needs_no_file(database: Path) -> None:
    sealed = Seal(database, KEY).seal("x")
    assert list(database.parent.iterdir()) == []
    assert Seal(database, KEY).open(sealed, "ops") == "x"


def test_a_wrong_key_is_refused_clearly(database: Path) -> None:
    sealed = Seal(database, KEY).seal("x")
    text = refused(Seal(database, KEY[::-1]), sealed)
    assert "the secrets of the config ops cannot be read: the key in [security] key is not the one" in text
    Seal(database).seal("y")  # makes another key, in the file
    assert str(database.with_name("notifyd.db.key")) in refused(Seal(database), sealed)


def test_a_key_that_has_gone_is_refused_and_none_is_made(database: Path) -> None:
    seal = Seal(database)
    sealed = seal.seal("x")
    seal.file.unlink()
    assert f"their key was in {seal.file}, which is gone; put it back" in refused(Seal(database), sealed)
    assert not seal.file.exists()


def test_what_was_changed_is_refused(database: Path) -> None:
    seal = Seal(database, KEY)
    sealed = seal.seal("x")
    for spoilt in (sealed[:-4] + "AAAA", "", "no token", "ä"):
        assert "cannot be read" in refused(seal, spoilt)


def test_a_file_that_cannot_be_a_key(database: Path) -> None:
    seal = Seal(database)
    seal.file.write_text("short\n")
    assert "is cut short; put the whole file back" in refused(seal, "x")
    seal.file.write_bytes(b"\xff" * 50)
    assert "it is not text" in refused(seal, "x")
    seal.file.unlink()
    seal.file.mkdir()
    assert "cannot be read: is a directory" in refused(seal, "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(database: Path) -> None:
    database.parent.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be written: permission denied"):
        Seal(database).seal("x")
