"""Loads a settings file: read, find the plugins, check each section, and say everything that is wrong at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from notifyd.plugin_host import Registry, discover
from notifyd.settings.bodies import SharedOptions, shared_options
from notifyd.settings.document import Document, read_document
from notifyd.settings.locate import KeyPath
from notifyd.settings.model import (
    DaemonSettings,
    HttpSettings,
    NotificationSettings,
    RulesSettings,
    SecuritySettings,
    SourceSettings,
)
from notifyd.settings.notifications import check_channels, read_notifications
from notifyd.settings.problems import Problem
from notifyd.settings.report import Report
from notifyd.settings.secrets import SecretResolver
from notifyd.settings.sources import read_sources
from notifyd.settings.urls import sqlite_path, sqlite_url
from notifyd.settings.values import Folder
from notifyd.settings.wording import did_you_mean

SECTIONS = ("daemon", "http", "sources", "rules", "channels", "notifications", "security")


@dataclass(frozen=True)
class Settings:
    """A whole settings file, typed, with the plugins that it was checked against.

    Paths and urls are absolute. `shared` are the options under [channels.*], which `notifications` have in
    them already. `not_checked` tells of secrets that could not be fetched here, but will be inside of the unit.
    """

    path: Path
    registry: Registry
    daemon: DaemonSettings
    http: HttpSettings
    sources: tuple[SourceSettings, ...]
    rules: RulesSettings
    notifications: tuple[NotificationSettings, ...]
    security: SecuritySettings
    shared: SharedOptions = field(default_factory=SharedOptions)
    not_checked: tuple[Problem, ...] = ()


def load(
    path: Path,
    *,
    secrets: bool = True,
    environ: Mapping[str, str] = os.environ,
    outside_unit: bool = False,
) -> Settings:
    """The settings of a file. Raises SettingsError with every problem there is.

    Without `secrets`, { env }, { file } and { credential } stay unresolved. With `outside_unit`, a
    credential is no problem where systemd has handed over none: it is listed in `not_checked`.
    """
    folder = path.absolute().parent
    document = read_document(path)
    resolver = SecretResolver(environ, folder, outside_unit=outside_unit) if secrets else None
    report = Report(document, resolver)
    _check_sections(report)
    plugins_dir = _plugins_dir(report, folder)
    registry = discover(plugins_dir)

    daemon = report.section("daemon", DaemonSettings)
    http = report.section("http", HttpSettings)
    sources = read_sources(report, folder)
    rules = report.section("rules", RulesSettings)
    check_channels(report, registry)
    notifications = read_notifications(report, registry)
    security = report.section("security", SecuritySettings)
    report.raise_if_any()

    state = sqlite_url(folder / sqlite_path(daemon.state)) if daemon.state else default_state(path, environ)
    return Settings(
        path=path,
        registry=registry,
        daemon=daemon.model_copy(update={"state": state, "plugins_dir": plugins_dir}),
        http=http,
        sources=sources,
        rules=rules,
        notifications=notifications,
        security=security,
        shared=shared_options(document.data.get("channels", {}), registry, resolver),
        not_checked=() if not outside_unit or environ.get("CREDENTIALS_DIRECTORY") else _not_checked(document),
    )


def default_state(path: Path, environ: Mapping[str, str]) -> str:
    """The state database of a settings file that names none: systemd's, the system's, or beside the file."""
    folder = path.absolute().parent
    if given := environ.get("STATE_DIRECTORY"):
        folder = Path(given.partition(":")[0])
    elif folder.is_relative_to("/etc"):
        folder = Path("/var/lib/notifyd")
    return sqlite_url(folder / "notifyd.db")


def _check_sections(report: Report) -> None:
    for name in report.document.data:
        if name not in SECTIONS:
            report.add((name,), f"unknown key{did_you_mean(name, SECTIONS)}")


def _plugins_dir(report: Report, folder: Path) -> Path | None:
    """Where drop-in plugins are; needed before all else, and also where other keys of [daemon] are wrong."""
    path = ("daemon", "plugins_dir")
    value = report.document.value(path)
    plugins_dir = None if value is None else report.check(Folder, value, path)
    return None if plugins_dir is None else folder / plugins_dir


def _not_checked(document: Document) -> tuple[Problem, ...]:
    """One for every { credential } of the document."""
    text = "the credential {} is not checked here: systemd hands it only to the unit"
    leaves = _leaves((), document.data)
    return tuple(document.problem(path[:-1], text.format(name)) for path, name in leaves if path[-1] == "credential")


def _leaves(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict | list):
        for step, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves((*path, step), child)
    else:
        yield path, value
