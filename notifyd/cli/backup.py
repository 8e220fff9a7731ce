"""`notifyd backup` and `notifyd restore`: a copy of the state DB, taken while it is in use, and put back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from notifyd.cli.options import WrongUse, read_settings
from notifyd.cli.output import complain, print_json, say
from notifyd.clock import utc_now
from notifyd.errors import NotifydError
from notifyd.settings import sqlite_path
from notifyd.store import copies, schema
from notifyd.store.errors import StateUnusable, StoreError, refusal
from notifyd.store.lock import alone


def backup(config: Path, file: Path, *, as_json: bool) -> None:
    """Copy the state DB to a file, or into a folder under a name with the time; a backup there is replaced."""
    path = _state(config)
    target = file / f"{path.stem}-{utc_now():%Y%m%dT%H%M%SZ}.db" if file.is_dir() else file
    _check_target(path, target)
    copies.copy(path, target)
    if trouble := copies.is_sound(target):
        raise NotifydError(f"the state DB {path} is damaged, and so is its copy {target}: {trouble}")
    size = target.stat().st_size
    key = _key_of(path)
    if as_json:
        print_json({"file": str(target), "bytes": size, "key": str(key) if key else None})
        return
    say(f"{path} is copied to {target} ({_megabytes(size)})")
    if key:
        complain(f"{key} is not in it: without that key the secrets of configs made through the API cannot be read")


def restore(config: Path, file: Path, *, as_json: bool) -> None:
    """Make a backup the state DB. The one that it replaces is kept beside it."""
    path = _state(config)
    if not file.is_file():
        raise WrongUse(f"there is no file {file}")
    if path.exists() and path.samefile(file):
        raise WrongUse(f"{file} is the state DB itself")
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path):
        kept = _put_back(file, path)
    if as_json:
        print_json({"state": str(path), "kept": str(kept) if kept else None})
        return
    say(f"{path} is now what {file} was")
    if kept:
        say(f"the one that it replaces is kept as {kept}")
    say("at its next start notifyd reads on from where that backup was: what was told since then is told again")


def _put_back(file: Path, path: Path) -> Path | None:
    """Checked as a copy, so that nothing of the state DB is touched before all is well."""
    copied = path.with_name(path.name + ".restoring")
    try:
        copies.copy(file, copied)
        schema.refuse_foreign(copied)
        return copies.put_in_place(copied, path, utc_now())
    except StateUnusable as error:
        raise NotifydError(f"{file}: {str(error).replace(str(copied), str(file))}; nothing was changed") from None
    finally:
        copied.unlink(missing_ok=True)


def _state(config: Path) -> Path:
    return sqlite_path(read_settings(config).daemon.state)


def _check_target(path: Path, target: Path) -> None:
    """A backup may replace a backup, and nothing else."""
    if not path.is_file():
        raise StoreError(f"there is no state DB at {path} (daemon.state says where it is)")
    if not target.parent.is_dir():
        raise WrongUse(f"there is no folder {target.parent}")
    if target.exists() and (path.samefile(target) or not _is_backup(target)):
        raise WrongUse(f"{target} is there already, and is no backup")


def _is_backup(file: Path) -> bool:
    """Whether it is a copy of a state DB, or empty. A sync log may well be an SQLite file too."""
    if not file.is_file():
        return False
    try:
        return file.stat().st_size == 0 or schema.is_state(file)
    except OSError as error:
        raise refusal(file, error) from None


def _key_of(path: Path) -> Path | None:
    key = path.with_name(path.name + ".key")
    return key if key.exists() else None


def _megabytes(size: int) -> Any:
    return f"{size / 1_000_000:.1f} MB"
