"""A settings file as one text per key, for comparing two of them. Secrets are there as marks that tell them apart.

sources["shop"].poll                              "1s"
notifications["ops"].config.webhook_url           secret 3f9a1c…
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from notifyd.plugin_host import Registry
from notifyd.settings.document import Document
from notifyd.settings.locate import KeyPath
from notifyd.settings.masks import is_reference, secrets_in
from notifyd.settings.model import (
    DaemonSettings,
    HeartbeatSettings,
    HttpSettings,
    RulesSettings,
    SecuritySettings,
    SourceSettings,
)

SALT = "salt"
SECRET = "secret "  # noqa: S105

_SECTIONS: Mapping[str, Any] = {
    "daemon": DaemonSettings,
    "http": HttpSettings,
    "sources": list[SourceSettings],
    "rules": RulesSettings,
    "security": SecuritySettings,
    "heartbeat": HeartbeatSettings,
}


class Change(NamedTuple):
    """One key that differs; None where it is not there. A secret is shown as a mask."""

    key: str
    before: str | None
    after: str | None


def outline(document: Document, registry: Registry, salt: str | None = None) -> dict[str, str]:
    """The texts by key, and under `SALT` what the marks of its secrets were made with."""
    salt = salt or secrets.token_hex(16)
    hidden = set(_secrets(document.data, registry))
    texts = {SALT: salt}
    for path, value in _leaves((), document.data):
        text = json.dumps(value, default=str, ensure_ascii=False)
        is_hidden = any(_overlap(path, one) for one in hidden) and not is_reference(value)
        texts[document.label(path)] = _mark(text, salt) if is_hidden else text
    return texts


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """What a reload would change; both outlines have the same salt."""
    keys = [key for key in dict.fromkeys([*before, *after]) if key != SALT and before.get(key) != after.get(key)]
    return [Change(key, _shown(before.get(key)), _shown(after.get(key))) for key in keys]


def _secrets(data: Mapping[str, Any], registry: Registry) -> Iterator[KeyPath]:
    """Where secrets are written; of a channel that is not there, all options are."""
    for section, kind in _SECTIONS.items():
        yield from ((section, *path) for path, _ in secrets_in(kind, data.get(section)))
    for name, options in data.get("channels", {}).items():
        yield from _of_channel(("channels", name), name, options, registry)
    for index, table in enumerate(data.get("notifications", [])):
        at, channel = ("notifications", index, "config"), table.get("notification_type")
        yield from _of_channel(at, channel, table.get("config", {}), registry)


def _of_channel(at: KeyPath, channel: Any, options: Any, registry: Registry) -> Iterator[KeyPath]:
    known = registry.channels.get(channel)
    if known is None:
        yield at
    else:
        yield from ((*at, *path) for path, _ in secrets_in(known.cls.Options, options))


def _overlap(path: KeyPath, secret: KeyPath) -> bool:
    """Whether the value at this path is the secret, a part of it, or a list that holds it."""
    length = min(len(path), len(secret))
    return path[:length] == secret[:length]


def _leaves(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    """Each value that is no table; a list of plain values is one, and so is { env = … } and the like."""
    if isinstance(value, dict) and value and not is_reference(value):
        for key, child in value.items():
            yield from _leaves((*path, key), child)
    elif isinstance(value, list) and any(isinstance(child, dict) for child in value):
        for index, child in enumerate(value):
            yield from _leaves((*path, index), child)
    else:
        yield path, value


def _mark(text: str, salt: str) -> str:
    """The same for the same secret; nobody gets from it to the secret who could not read that anyway.

    In 256 kB, eight times over: what is taken at once, malloc keeps.
    """
    return SECRET + hashlib.scrypt(text.encode(), salt=bytes.fromhex(salt), n=2**8, r=8, p=8, dklen=12).hex()


def _shown(text: str | None) -> str | None:
    return "<secret>" if text is not None and text.startswith(SECRET) else text
