"""`notifyd token`: who may use the API."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from notifyd.cli.options import WrongUse, read_settings
from notifyd.cli.output import Cell, complain, print_json, print_page, print_table, say
from notifyd.cli.person import person, user
from notifyd.clock import utc_now
from notifyd.errors import NotifydError
from notifyd.model import rfc3339
from notifyd.settings import parse_duration, sqlite_path
from notifyd.settings.wording import did_you_mean
from notifyd.store import reads, tokens
from notifyd.store.database import Database, open_database
from notifyd.store.lock import Lock
from notifyd.store.tokens import Permission, Token

LONGEST_NAME = 100


def create(path: Path, name: str, permissions: Sequence[str], expires: str | None, *, as_json: bool) -> None:
    """Make a token, and print it: this once, and alone, so that a script can take it."""
    _check_name(name)
    lifetime = _lifetime(expires)
    settings, now = read_settings(path), utc_now()
    with _made(settings.daemon.state) as db:
        allowed = [Permission(each) for each in dict.fromkeys(permissions)]
        ends = now + lifetime if lifetime else None
        token, text = tokens.create(db, name, allowed, person(), now, ends)
    if as_json:
        print_json({**_json(token, now), "token": text})
    else:
        say(text)
        complain(f"that is the token {name}, which is shown this once; send it as: Authorization: Bearer TOKEN")
    if not settings.http.listen:
        complain('the API is off: http.listen is ""')


def listing(path: Path, *, as_json: bool) -> None:
    """List every token there ever was, the newest first."""
    now = utc_now()
    with reads.opened(read_settings(path).daemon.state) as db:
        found = tokens.listing(db)
    if as_json:
        print_page(_json(token, now) for token in found)
        return
    columns = ("name", "state", "permissions", "created", "expires", "last used", "id")
    print_table(columns, [_cells(token, now) for token in found], empty="no token; `notifyd token create` makes one")


def revoke(path: Path, which: str) -> None:
    """Let a token in no more, by its name or id."""
    with reads.opened(read_settings(path).daemon.state) as db:
        token = tokens.revoke(db, which, person(), utc_now())
        names = [each.name for each in tokens.listing(db) if each.revoked_at is None]
    if token is None:
        raise NotifydError(f'there is no token "{which}" to revoke{did_you_mean(which, names)}')
    say(f"the token {token.name} ({token.id}) is let in no more")


def _check_name(name: str) -> None:
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise WrongUse(f"--name: the audit trail shows it, so it has 1 to {LONGEST_NAME} printable characters")


def _lifetime(expires: str | None) -> timedelta | None:
    try:
        lifetime = parse_duration(expires) if expires is not None else None
    except ValueError as error:
        raise WrongUse(f"--expires: {error}") from None
    if lifetime is not None and lifetime <= timedelta():
        raise WrongUse("--expires: a token that has expired is of no use; leave it out for one that never does")
    return lifetime


@contextmanager
def _made(url: str) -> Iterator[Database]:
    """The state DB, made where there is none yet: a token may come before the first start."""
    path = sqlite_path(url)
    if path.exists():
        with reads.opened(url) as db:
            yield db
        return
    _check_owner(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path)
    if not lock.take():
        raise NotifydError(f"a daemon is just starting on {path}; try again in a moment")
    try:
        with closing(open_database(url, create=True)) as db:
            yield db
    finally:
        lock.release()


def _check_owner(folder: Path) -> None:
    """A state DB that belongs to root is one that the daemon cannot write."""
    owner = folder.stat().st_uid if folder.is_dir() else os.getuid()
    if owner != os.getuid():
        command = f"sudo -u {user(owner)} notifyd token …"
        raise NotifydError(f"there is no state DB in {folder} yet; make it as the folder's owner: {command}")


def _cells(token: Token, now: datetime) -> tuple[Cell, ...]:
    permissions = ", ".join(token.permissions) or "none"
    expires = token.expires_at or "never"
    return (
        token.name, token.state(now), permissions, token.created_at, expires, token.last_used_at or "never", token.id,
    )  # fmt: skip


def _json(token: Token, now: datetime) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "state": token.state(now),
        "permissions": list(token.permissions),
        "created_at": rfc3339(token.created_at),
        "expires_at": rfc3339(token.expires_at) if token.expires_at else None,
        "last_used_at": rfc3339(token.last_used_at) if token.last_used_at else None,
        "revoked_at": rfc3339(token.revoked_at) if token.revoked_at else None,
    }
