"""Reads [channels.*] and [[notifications]]: the plugins that own options and filters validate them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from notifyd.api import Options
from notifyd.errors import text_of
from notifyd.plugin_host import Registered, Registry
from notifyd.render import Template
from notifyd.settings.kinds import secrets_within
from notifyd.settings.locate import KeyPath
from notifyd.settings.masks import masked
from notifyd.settings.model import NotificationSettings, NotificationTable
from notifyd.settings.report import Report
from notifyd.settings.wording import did_you_mean

_NOTIFICATIONS = ("notifications",)


def read_notifications(report: Report, registry: Registry) -> tuple[NotificationSettings, ...]:
    """The notification configs, as far as they are right."""
    report.check(list[dict[str, Any]], report.document.data.get("notifications", []), _NOTIFICATIONS)
    report.check_unique(_NOTIFICATIONS, "name")
    tables = report.document.tables(_NOTIFICATIONS)
    configs = [read_notification(report, registry, path, table) for path, table in tables]
    return tuple(config for config in configs if config is not None)


def check_channels(report: Report, registry: Registry) -> None:
    """Check [channels.TYPE] by itself: whatever it gives must be right, though it need not be all."""
    channels = report.document.data.get("channels", {})
    if report.check(dict[str, Any], channels, ("channels",)) is None:
        return
    for name, shared in channels.items():
        path = ("channels", name)
        if (channel := registry.channels.get(name)) is None:
            report.add(path, _unavailable(registry, "channel", name))
        elif report.check(dict[str, Any], shared, path) is not None:
            _check_options(report, channel, shared, _below(path), partial=True)


def read_notification(
    report: Report, registry: Registry, path: KeyPath, table: dict[str, Any]
) -> NotificationSettings | None:
    """One notification config, if it is right."""
    checked: NotificationTable | None = report.check(NotificationTable, table, path)
    options = _options(report, registry, path, table)
    filters = _filters(report, registry, path, table)
    if checked is None or options is None:
        return None
    return NotificationSettings(
        name=checked.name,
        notification_type=checked.notification_type,
        enabled=checked.enabled,
        system=checked.system,
        timeout=checked.timeout,
        isolate=checked.isolate,
        options=options,
        filters=filters,
        group=checked.group,
        delivery=checked.delivery,
        template=Template(checked.template.title, checked.template.body),
        where=report.document.where(path),
        shown={**checked.model_dump(mode="json"), "config": masked(type(options), table.get("config", {}))},
    )


def _options(report: Report, registry: Registry, path: KeyPath, table: dict[str, Any]) -> Options | None:
    """The config's own options over those that all configs of its type share."""
    kind = table.get("notification_type")
    own = table.get("config", {})
    if not isinstance(kind, str) or not kind or not isinstance(own, dict):
        return None  # which is already told
    if (channel := registry.channels.get(kind)) is None:
        report.add((*path, "notification_type"), _unavailable(registry, "channel", kind))
        return None
    shared = report.document.value(("channels", kind)) or {}
    if not isinstance(shared, dict):
        return None

    def place(inner: KeyPath) -> KeyPath:
        is_shared = inner and inner[0] in shared and inner[0] not in own
        return ("channels", kind, *inner) if is_shared else (*path, "config", *inner)

    own = _without_type(report, path, own, channel)
    options: Options | None = _check_options(report, channel, {**shared, **own}, place, around=path)
    return options


def _without_type(report: Report, path: KeyPath, own: dict[str, Any], channel: Registered[Any]) -> dict[str, Any]:
    """The API's bodies repeat the type inside of config (`type = "Slack"`); it must agree, and says nothing new."""
    if "type" not in own or "type" in channel.cls.Options.model_fields:
        return own
    if str(own["type"]).casefold() != channel.name.casefold():
        report.add((*path, "config", "type"), f'does not agree with notification_type = "{channel.name}"; leave it out')
    return {key: value for key, value in own.items() if key != "type"}


def _filters(report: Report, registry: Registry, path: KeyPath, table: dict[str, Any]) -> dict[str, Any]:
    filters = table.get("filters", {})
    if not isinstance(filters, dict):
        return {}
    return {name: _filter(report, registry, path, name, value) for name, value in filters.items()}


def _filter(report: Report, registry: Registry, config: KeyPath, name: str, value: object) -> Any:
    path = (*config, "filters", name)
    if (registered := registry.filters.get(name)) is None:
        misplaced = name in NotificationTable.model_fields
        report.add(path, report.belongs_to(config) if misplaced else _unavailable(registry, "filter", name))
    elif value == []:
        report.add(path, "may not be empty; leave the key out to mean all")
    else:
        return _check_options(report, registered, value, _below(path))
    return None


def _check_options(
    report: Report,
    plugin: Registered[Any],
    value: object,
    place: Callable[[KeyPath], KeyPath],
    *,
    partial: bool = False,
    around: KeyPath | None = None,
) -> Any:
    """The value as the plugin's Options. A plugin's own checks may fail in any way, and may quote a secret."""
    kind = plugin.cls.Options
    report.secrets.update(secrets_within(kind, value))
    outer = None if around is None else (around, NotificationTable)
    try:
        return report.check(kind, value, place, partial=partial, dates=True, around=outer)
    except BaseException as error:  # a bug in a plugin is one problem of the file, not the end of the program
        reason = report.masked(text_of(error))
        report.add(place(()), f"{plugin.name} ({plugin.origin}) failed while it checked its options: {reason}")
        return None


def _below(path: KeyPath) -> Callable[[KeyPath], KeyPath]:
    return lambda inner: (*path, *inner)


def _unavailable(registry: Registry, kind: Literal["channel", "filter"], name: str) -> str:
    """Why there is no such channel or filter, and what may have been meant."""
    if reason := registry.broken(kind, name):
        return f'the {kind} "{name}" cannot be used: {reason}'
    known = registry.channels if kind == "channel" else registry.filters
    hint = did_you_mean(name, known) or f"; there are {', '.join(known) or 'none'}"
    broken = "; some plugins cannot be used, see `notifyd plugins`" if registry.problems else ""
    return f'unknown {kind} "{name}"{hint}{broken}'
