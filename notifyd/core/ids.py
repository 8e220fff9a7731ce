"""Ids that are a hash of what they are about, so the same thing has the same id for ever."""

from __future__ import annotations

import hashlib
import json


def event_id(*about: str | int | None) -> str:
    """The id of an event about (source identity, epoch, schedule, run or key, event_type, occurrence)."""
    return f"evt_{_digest(about)}"


def delivery_id(config_id: str, first_event: str) -> str:
    """The id of the delivery that `first_event` opens for a config: an event is planned once for each."""
    return f"dlv_{_digest((config_id, first_event))}"


def config_id(name: str) -> str:
    """The id of a config of the TOML file: its name is its identity, across restarts and edits."""
    return f"cfg_{_digest((name,))}"


def _digest(parts: tuple[str | int | None, ...]) -> str:
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
