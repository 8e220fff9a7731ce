"""Where secrets come from, and what is said when they do not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from notifyd.settings.secrets import SecretResolver


def resolve(kind: str, name: str, folder: Path, **environ: str) -> str | None:
    return SecretResolver(environ, folder)(kind, name)


def test_env(tmp_path: Path) -> None:
    assert resolve("env", "TOKEN", tmp_path, TOKEN="  s3cret\n") == "  s3cret\n"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_without_the_line_end_that_editors_add(tmp_path: Path, end: str) -> None:
    (tmp_path / "token").write_bytes(f" s3crèt {end}".encode())
    assert resolve("file", str(tmp_path / "token"), tmp_path) == " s3crèt "


def test_a_relative_file_is_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/token").write_text("s3cret")
    assert resolve("file", "secrets/token", tmp_path) == "s3cret"


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_file_may_be_readable_by_others(tmp_path: Path, mode: int) -> None:
    (tmp_path / "token").write_text("s3cret")
    (tmp_path / "token").chmod(mode)
    assert resolve("file", "token", tmp_path) == "s3cret"


@pytest.mark.parametrize("stored", ["token", "notifyd_token"])
def test_a_credential_of_systemd(tmp_path: Path, stored: str) -> None:
    """LoadCredential= of a folder gives each of its files the unit's prefix."""
    (tmp_path / stored).write_text("s3cret\n")
    assert resolve("credential", "token", Path("/nowhere"), CREDENTIALS_DIRECTORY=str(tmp_path)) == "s3cret"


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("env", "TOKEN", "the environment variable TOKEN is not set"),
        ("env", "EMPTY", "the environment variable EMPTY is empty"),
        ("file", "none", "none cannot be read: no such file or directory"),
        ("file", ".", "cannot be read: is a directory"),
        ("file", "empty", "empty is empty"),
        ("file", "pipe", "pipe cannot be read: not a regular file"),
        ("file", "/dev/zero", "/dev/zero cannot be read: not a regular file"),
        ("credential", "pipe", "pipe cannot be read: not a regular file"),
        ("file", "binary", "binary is not UTF-8 text"),
        ("file", "long", "long is longer than 64 KiB"),
        ("file", "nul\0", "embedded null byte"),
        ("credential", "none", r"systemd handed over no credential none \(nor notifyd_none\)"),
        ("credential", "../token", "holds no /"),
        ("credential", "..", "holds no /"),
        ("credential", "empty", "empty is empty"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, kind: str, name: str, text: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_text("x" * 65_537)
    with pytest.raises(ValueError, match=text):
        resolve(kind, name, tmp_path, EMPTY="", CREDENTIALS_DIRECTORY=str(tmp_path))


@pytest.mark.usefixtures("unprivileged")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="permission denied"):
        resolve("file", "/etc/shadow", tmp_path)


def test_without_systemd_there_are_no_credentials(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="systemd hands credentials only to its units"):
        resolve("credential", "token", tmp_path)


def test_outside_of_the_unit_a_credential_can_wait(tmp_path: Path) -> None:
    assert SecretResolver({}, tmp_path, outside_unit=True)("credential", "token") is None


def test_what_was_given_out_is_known_so_that_it_can_be_masked(tmp_path: Path) -> None:
    resolver = SecretResolver({"TOKEN": "s3cret"}, tmp_path)
    resolver("env", "TOKEN")
    assert resolver.texts == {"s3cret"}
