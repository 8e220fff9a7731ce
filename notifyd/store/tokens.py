"""Bearer tokens of the API: shown once, kept as a hash.

A token is 256 random bits, which nobody can guess or try out, so one round of SHA-256 is all that the hash
needs. Slow password hashes exist for what people think up, and would only make each request slow.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from notifyd.model import rfc3339
from notifyd.store import rows, trail
from notifyd.store.database import Database, StoreError
from notifyd.store.trail import Actor, Deed

PREFIX = "ntf_"
"""What a token begins with, so that people and secret scanners know it when they see one."""


class Permission(StrEnum):
    """What a token may do."""

    MANAGE_SETTINGS = "manage_settings"
    READ_METRICS = "read_metrics"


class TokenState(StrEnum):
    """Whether a token is let in."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token, which is everything but its text."""

    id: str
    name: str
    permissions: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> TokenState:
        """Revoked for ever, expired from its last moment on, else active."""
        if self.revoked_at is not None:
            return TokenState.REVOKED
        return TokenState.EXPIRED if self.expires_at is not None and self.expires_at <= now else TokenState.ACTIVE


def create(
    db: Database,
    name: str,
    permissions: Sequence[Permission],
    actor: Actor,
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[Token, str]:
    """Make a token: what is known of it, and its text, which is nowhere else. A name in use is a StoreError."""
    text, identity = PREFIX + secrets.token_urlsafe(32), f"tok_{secrets.token_hex(8)}"
    with db.transaction():
        if db.run("SELECT id FROM api_tokens WHERE name = ? AND revoked_at IS NULL", [name]):
            raise StoreError(f'there is a token called "{name}" already; choose another name, or revoke that one first')
        db.run(
            "INSERT INTO api_tokens (id, name, hash, permissions, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
            [identity, name, _hash(text), rows.dump(list(permissions)), rfc3339(now), rows.text(expires_at)],
        )
        trail.note(db, actor, Deed("token.created", identity, name), now)
    return Token(identity, name, tuple(permissions), now, expires_at, None, None), text


def revoke(db: Database, which: str, actor: Actor, now: datetime) -> Token | None:
    """Let a token in no more, by its id or name; None if there is none that is not revoked yet."""
    with db.transaction():
        found = db.run(
            f"UPDATE api_tokens SET revoked_at = ? WHERE ? IN (id, name) AND revoked_at IS NULL RETURNING {_FIELDS}",
            [rfc3339(now), which],
        )
        if not found:
            return None
        token = _token(*found[0])
        trail.note(db, actor, Deed("token.revoked", token.id, token.name), now)
    return token


def listing(db: Database) -> list[Token]:
    """Every token there ever was, the newest first."""
    return [_token(*row) for row in db.run(f"SELECT {_FIELDS} FROM api_tokens ORDER BY created_at DESC, id")]


def known(db: Database, text: str) -> Token | None:
    """The token of a text, whatever its state.

    What is looked up is the hash, which nobody can steer; so the time that it takes says nothing of the text.
    """
    digest = _hash(text)
    found = db.run(f"SELECT hash, {_FIELDS} FROM api_tokens WHERE hash = ?", [digest])
    return _token(*found[0][1:]) if found and hmac.compare_digest(found[0][0], digest) else None


def any_active(db: Database, now: datetime) -> bool:
    """Whether anybody is let in at all."""
    sql = "SELECT 1 FROM api_tokens WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?) LIMIT 1"
    return bool(db.run(sql, [rfc3339(now)]))


def used(db: Database, token_id: str, now: datetime) -> None:
    """Remember when a token was last used."""
    with db.transaction():
        db.run("UPDATE api_tokens SET last_used_at = ? WHERE id = ?", [rfc3339(now), token_id])


_FIELDS = "id, name, permissions, created_at, expires_at, last_used_at, revoked_at"


def _token(
    identity: str, name: str, permissions: str, created: str, expires: str | None, used: str | None, revoked: str | None
) -> Token:
    return Token(
        identity,
        name,
        tuple(json.loads(permissions)),
        rows.moment(created),
        rows.moment(expires),
        rows.moment(used),
        rows.moment(revoked),
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
