"""The secrets of configs made through the API, encrypted at rest.

The key is the settings' (`[security] key`), else a file beside the state DB, made with the first secret and
readable by its owner alone. Fernet (https://github.com/fernet/spec) is AES-128-CBC with HMAC-SHA256: what was
changed, or sealed with another key, is refused rather than misread.
"""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from notifyd.settings.model import SHORTEST_KEY
from notifyd.store.database import StoreError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class Seal:
    """Seals and opens texts. `key` is the settings'; without one, that in the file beside `database`."""

    def __init__(self, database: Path, key: str | None = None) -> None:
        self.file = database.with_name(database.name + ".key")
        self._given = key
        self._fernet: Fernet | None = None

    @property
    def where(self) -> str:
        """Where the key is, for people."""
        return "[security] key" if self._given else str(self.file)

    def seal(self, text: str) -> str:
        """The text, encrypted. Makes the file of the key where there is none yet."""
        if self._fernet is None:
            self._fernet = _fernet(self._given or _read(self.file) or _make(self.file))
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str, whose: str) -> str:
        """The text again. `whose` it is, is told where the key is wrong or gone: StoreError."""
        from cryptography.fernet import InvalidToken

        if self._fernet is None:
            self._fernet = _fernet(self._given or _read(self.file) or _gone(self.file, whose))
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise StoreError(
                f"the secrets of the config {whose} cannot be read: the key in {self.where} is not the one that they "
                "were sealed with; put that key back"
            ) from None


def _fernet(key: str) -> Fernet:
    """Any text of enough length will do as a key; imported late, as most daemons have no such secret."""
    from cryptography.fernet import Fernet

    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))


def _read(file: Path) -> str | None:
    try:
        key = file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"the key {file} cannot be read: {_plain(error)}") from None
    if len(key) < SHORTEST_KEY:
        raise StoreError(f"the key {file} is cut short; put the whole file back")
    return key


def _make(file: Path) -> str:
    """A new key, on disk before anything is sealed with it."""
    key = base64.urlsafe_b64encode(os.urandom(32)).decode()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(key + "\n")
            out.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise StoreError(f"the key {file} cannot be written: {_plain(error)}") from None
    return key


def _gone(file: Path, whose: str) -> str:
    raise StoreError(
        f"the secrets of the config {whose} cannot be read: their key was in {file}, which is gone; put it back, or "
        "give the key as [security] key"
    )


def _plain(error: Exception) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not text"
