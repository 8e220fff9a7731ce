"""Fetches the texts of secrets: from the environment, a file, or a systemd credential."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from notifyd.api.files import opened

REFERENCES = ("env", "file", "credential")
"""The ways to say where a secret is."""

_LARGEST = 65_536


class SecretResolver:
    """Turns `{ env }`, `{ file }` and `{ credential }` into text; the `api.Resolver` of a settings file.

    Relative paths start at `folder`, the settings file's own. With `outside_unit`, a credential stays
    unresolved (None) where systemd has handed over none. `texts` are all texts that it has given out.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path, *, outside_unit: bool = False) -> None:
        self._environ = environ
        self._folder = folder
        self._outside_unit = outside_unit
        self.texts: set[str] = set()

    def __call__(self, kind: str, name: str) -> str | None:
        """The secret's text. Raises ValueError with one line that names where it looked."""
        fetch = dict(zip(REFERENCES, (self._env, self._file, self._credential), strict=True))
        text = fetch[kind](name)
        if text is not None:
            self.texts.add(text)
        return text

    def _env(self, name: str) -> str:
        text = self._environ.get(name)
        if text is None:
            raise ValueError(f"the environment variable {name} is not set")
        if not text:
            raise ValueError(f"the environment variable {name} is empty")
        return text

    def _file(self, name: str) -> str:
        return _read(self._folder / name)

    def _credential(self, name: str) -> str | None:
        if "/" in name or name in (".", ".."):
            raise ValueError("a credential is named by its id, which holds no /")
        folder = self._environ.get("CREDENTIALS_DIRECTORY")
        if not folder and self._outside_unit:
            return None
        if not folder:
            raise ValueError(
                f"there is no credential {name}: systemd hands credentials only to its units "
                "($CREDENTIALS_DIRECTORY is not set)"
            )
        for candidate in (Path(folder, name), Path(folder, f"notifyd_{name}")):
            if candidate.exists():
                return _read(candidate)
        raise ValueError(
            f"systemd handed over no credential {name} (nor notifyd_{name}); see LoadCredential= in the unit"
        )


def _read(path: Path) -> str:
    """The text of a file without the line end that editors add."""
    try:
        with opened(path) as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(content) > _LARGEST:
        raise ValueError(f"{path} is longer than 64 KiB, which is no secret")
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    if not text:
        raise ValueError(f"{path} is empty")
    return text
