"""Configs as the API takes them: a [[notifications]] table as JSON, from somebody who is not the admin.

    body ──► whole, without nulls ──► may the API say this? ──► masks become secrets again ──► the plugins' own checks

The checks are those of the settings file. Beyond them, nothing may name a file, an environment variable or a
credential of this machine, and no secret is sent to another place than it was given for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from notifyd.api import Options
from notifyd.api.options import settings_only
from notifyd.errors import NotifydError
from notifyd.plugin_host import Registered, Registry
from notifyd.settings.document import Document
from notifyd.settings.locate import KeyPath
from notifyd.settings.masks import MASK, at, is_reference, kept, masked, put, secrets_in, target_keys, target_of
from notifyd.settings.model import NotificationSettings
from notifyd.settings.notifications import read_notification
from notifyd.settings.report import Report
from notifyd.settings.secrets import SecretResolver

WHERE = "made through the API"

_AT: KeyPath = ("notifications", 0)
_WORDS = (
    (": write it above the header of this table", ""),
    (": a list of tables is written with two brackets, [[…]]", ""),
    (": a single table is written with single brackets, […]", ""),
    ('exactly one of { env = "…" }, { file = "…" }, { credential = "…" }', "text"),
    (', or one of { env = "…" }, { file = "…" }, { credential = "…" }', ""),
    (" in quotes", ""),
    ("a table", "an object"),
)
"""What a settings file calls a thing, and what JSON does."""


class Fault(NamedTuple):
    """What is wrong with one field of a body."""

    path: KeyPath
    text: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path)) or 'the body'}: {self.text}"


class BodyError(NotifydError):
    """A body that is no config; every fault there is."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(map(str, faults)))


@dataclass(frozen=True)
class Body:
    """A config as it was written: `own` are its options with their secrets, `shown` is all of it with masks."""

    shown: Mapping[str, Any]
    own: Mapping[str, Any] = field(repr=False)

    def differences(self, other: Body) -> Iterator[tuple[str, object, object]]:
        """(field, what it shows here, and there) of each field that is another in `other`.

        Of a secret URL it shows where it leads, so that the audit trail says who sent things elsewhere.
        """
        here, there = _flat({**self.shown, "config": self.own}), _flat({**other.shown, "config": other.own})
        shown_here, shown_there = _flat(self.shown), _flat(other.shown)
        for name in sorted(here.keys() | there.keys()):
            if here.get(name) != there.get(name):
                yield name, _led(shown_here.get(name), here.get(name)), _led(shown_there.get(name), there.get(name))


def _led(shown: object, own: object) -> object:
    """What is shown of a value: of a masked URL scheme, host and port too."""
    if shown != MASK or not isinstance(own, str) or not own.startswith(("http://", "https://")):
        return shown
    parts = urlsplit(own)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], f"/{MASK}", "", ""))


class SharedOptions:
    """[channels.TYPE], with its secrets fetched; nothing prints it."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._tables = tables or {}

    def beneath(self, channel: Registered[Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a config of the API has beside its own: no secret of the admin's, where it says itself where to send."""
        shared = self._tables.get(channel.name, {})
        kind = channel.cls.Options
        if own.keys().isdisjoint(target_keys(kind)):
            return shared
        secret = {path[0] for path, _ in secrets_in(kind, shared)}
        return {key: value for key, value in shared.items() if key not in secret}

    def given(self, kind: str) -> frozenset[str]:
        """The keys that every config of this type has."""
        return frozenset(self._tables.get(kind, {}))


def shared_options(
    tables: Mapping[str, Mapping[str, Any]], registry: Registry, resolver: SecretResolver | None
) -> SharedOptions:
    """The tables of a file that was checked, with the text of each secret that can be fetched here."""
    return SharedOptions({name: _fetched(registry.channels[name], table, resolver) for name, table in tables.items()})


def _fetched(channel: Registered[Any], table: Mapping[str, Any], resolver: SecretResolver | None) -> dict[str, Any]:
    fetched = copy.deepcopy(dict(table))
    for path, written in list(secrets_in(channel.cls.Options, fetched)):
        if isinstance(written, dict) and is_reference(written):
            text = resolver(*next(iter(written.items()))) if resolver else None
            if text is None:
                fetched.pop(str(path[0]), None)
            else:
                put(fetched, path, text)
    return fetched


class BodyReader:
    """Reads bodies for one daemon: with its plugins, and its shared options."""

    def __init__(self, registry: Registry, shared: SharedOptions) -> None:
        self.registry, self.shared = registry, shared

    def read(self, body: object, identity: str, old: Body | None = None) -> tuple[NotificationSettings, Body]:
        """The config of a body. Masks keep the secrets of `old`. Raises BodyError with every fault."""
        report = _Report()
        table = _whole(report, body)
        channel = self._channel(report, table)
        keeps = self._restrict(report, channel, table, old) if channel else []
        report.raise_if_any()
        found = self._read(report, channel, table)
        if found and keeps and old:
            self._check_target(report, keeps, found, old)
        report.raise_if_any()
        assert found is not None  # noqa: S101 - else there are faults
        return replace(found, id=identity, where=WHERE), Body(found.shown, table["config"])

    def again(self, body: Body, identity: str) -> NotificationSettings:
        """The config of a body that was read before. Raises BodyError where a plugin or a shared option changed."""
        return self.read({**body.shown, "config": body.own}, identity)[0]

    def shown(self, notification_type: str, own: Mapping[str, Any]) -> dict[str, Any]:
        """Options with masks; nothing but masks where the plugin is gone that knows which of them are secret."""
        if (channel := self.registry.channels.get(notification_type)) is None:
            return dict.fromkeys(own, MASK)
        return masked(channel.cls.Options, own)

    def _channel(self, report: _Report, table: dict[str, Any]) -> Registered[Any] | None:
        """The channel, if it is one that the API may use."""
        kind = table.get("notification_type")
        channel = self.registry.channels.get(kind) if isinstance(kind, str) else None
        if channel is not None and not channel.cls.api_allowed:
            report.add((*_AT, "notification_type"), f'"{kind}" is only for the settings file, not for the API')
            return None
        return channel

    def _restrict(
        self, report: _Report, channel: Registered[Any], table: dict[str, Any], old: Body | None
    ) -> list[KeyPath]:
        """Refuse what only a settings file may say, before anything looks it up. Where old secrets were kept."""
        kind, own = channel.cls.Options, table["config"]
        for key in sorted(settings_only(kind) & own.keys()):
            if own.pop(key) is not None:
                report.add((*_AT, "config", key), "may only be set in the settings file")
        for path, written in secrets_in(kind, own):
            if is_reference(written):
                text = "may not name an environment variable, a file or a credential here; give the text itself"
                report.add((*_AT, "config", *path), text)
        return _unmask(report, channel, table, old)

    def _read(
        self, report: _Report, channel: Registered[Any] | None, table: dict[str, Any]
    ) -> NotificationSettings | None:
        beneath = {channel.name: self.shared.beneath(channel, table["config"])} if channel else {}
        report.document.data.update({"notifications": [table], "channels": beneath})
        found = read_notification(report, self.registry, _AT, table)
        if found is None and channel and len(beneath[channel.name]) < len(self.shared.given(channel.name)):
            text = f"the secrets under [channels.{channel.name}] stay with it, as the config says itself where to send"
            report.add((*_AT, "config"), text)
        return found

    def _check_target(self, report: _Report, keeps: list[KeyPath], new: NotificationSettings, old: Body) -> None:
        """A secret is kept for the place that it was given for."""
        before = self._options_of(old)
        here, there = target_of(before) if before else {}, target_of(new.options)
        changed = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
        for path in keeps if changed else ():
            text = f"must be given again, as the config would send it elsewhere now: {', '.join(changed)} changed"
            report.add((*_AT, "config", *path), text)

    def _options_of(self, old: Body) -> Options | None:
        try:
            return self.again(old, "").options
        except BodyError:
            return None


class _Report(Report):
    """The faults of one body, in the words of JSON."""

    def __init__(self) -> None:
        super().__init__(Document("", {}), _Refuse({}, Path()))

    def add(self, path: KeyPath, text: str) -> None:
        for toml, json in _WORDS:
            text = text.replace(toml, json)
        super().add(path, text)

    def raise_if_any(self) -> None:
        """Raise BodyError with all that was noted."""
        if self._texts:
            raise BodyError([Fault(_within(path), "; or: ".join(texts)) for path, texts in self._texts.items()])


class _Refuse(SecretResolver):
    """Fetches nothing: whoever may use the API may not look around on this machine."""

    def __call__(self, kind: str, name: str) -> str | None:
        raise ValueError("may not be fetched through the API")


def _whole(report: _Report, body: object) -> dict[str, Any]:
    """The body with everything in it that may be left out; what is null is left out."""
    if not isinstance(body, dict):
        report.add(_AT, "expected an object")
        report.raise_if_any()
        raise AssertionError
    table = {key: copy.deepcopy(value) for key, value in body.items() if value is not None}
    kind = table.get("notification_type")
    table.setdefault("name", kind if isinstance(kind, str) and kind else "unnamed")
    table.setdefault("config", {})
    if not isinstance(table["config"], dict):
        report.add((*_AT, "config"), "expected an object")
        report.raise_if_any()
    if isinstance(filters := table.get("filters"), dict):
        table["filters"] = {name: value for name, value in filters.items() if value is not None}
    return table


def _unmask(report: _Report, channel: Registered[Any], table: dict[str, Any], old: Body | None) -> list[KeyPath]:
    """Put the old secret in the place of each mask. Where they were."""
    kind, own = channel.cls.Options, table["config"]
    same = old is not None and old.shown.get("notification_type") == channel.name
    before = old.own if old is not None and same else {}
    for path, found in secrets_in(kind, own):
        if found != MASK and MASK in str(found):
            report.add(
                (*_AT, "config", *path), f'"{MASK}" stands for a whole secret, not for a part; give the whole text'
            )
    keeps = kept(kind, own)
    for path in keeps:
        secret = at(before, path)
        if not isinstance(secret, str) or _is_shorter(own, before, path):
            report.add((*_AT, "config", *path), f'"{MASK}" keeps a secret, and there is none to keep; give the text')
        else:
            put(own, path, secret)
    return keeps


def _is_shorter(own: Mapping[str, Any], before: Mapping[str, Any], path: KeyPath) -> bool:
    """Whether something was taken out of a list on the way, so that nobody knows which secret is meant."""
    lists = [path[:depth] for depth, step in enumerate(path) if isinstance(step, int)]
    return any(len(_list(own, each)) < len(_list(before, each)) for each in lists)


def _list(value: Mapping[str, Any], path: KeyPath) -> list[Any]:
    found = at(dict(value), path)
    return found if isinstance(found, list) else []


def _within(path: KeyPath) -> KeyPath:
    """The path in the body; what a shared option lacks, the config can give."""
    return path[len(_AT) :] if path[: len(_AT)] == _AT else ("config", *path[2:])


def _flat(value: Mapping[str, Any]) -> dict[str, object]:
    """The fields by their paths: tables one level deep, as people speak of them."""
    flat: dict[str, object] = {}
    for key, child in value.items():
        if isinstance(child, Mapping):
            flat |= {f"{key}.{inner}": deep for inner, deep in child.items()}
        else:
            flat[key] = child
    return flat
