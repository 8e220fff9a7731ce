"""Loads a settings file: read, find the plugins, check each section, and say everything that is wrong at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from notifyd.plugin_host import Registry, discover
from notifyd.settings.bodies import SharedOptions, shared_options
from notifyd.settings.document import Document, read_document
from notifyd.settings.locate import KeyPath
from notifyd.settings.model import (
    DaemonSettings,
    HeartbeatSettings,
    HttpSettings,
    NotificationSettings,
    RulesSettings,
    SecuritySettings,
    SourceSettings,
)
from notifyd.settings.notifications import check_channels, read_notifications
from notifyd.settings.problems import Problem, SettingsError
from notifyd.settings.report import Report
from notifyd.settings.salvage import salvage
from notifyd.settings.secrets import SecretResolver
from notifyd.settings.sources import read_sources, refuse_as_state
from notifyd.settings.urls import sqlite_path, sqlite_url
from notifyd.settings.values import Folder, StateUrl
from notifyd.settings.wording import did_you_mean

SECTIONS = ("daemon", "http", "sources", "rules", "channels", "notifications", "security", "heartbeat")


@dataclass(frozen=True)
class Settings:
    """A whole settings file, typed, with the plugins that it was checked against.

    Paths and urls are absolute. `shared` are the options under [channels.*], which `notifications` have in
    them already, and `document` is the file as it was read. `not_checked` tells of secrets that could not be
    fetched here, but will be inside of the unit.
    """

    path: Path
    registry: Registry
    daemon: DaemonSettings
    http: HttpSettings
    sources: tuple[SourceSettings, ...]
    rules: RulesSettings
    notifications: tuple[NotificationSettings, ...]
    security: SecuritySettings
    heartbeat: HeartbeatSettings = field(default_factory=HeartbeatSettings)
    shared: SharedOptions = field(default_factory=SharedOptions)
    document: Document = field(default_factory=lambda: Document("", {}), repr=False)
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
    document = read_document(path)
    resolver = SecretResolver(environ, path.absolute().parent, outside_unit=outside_unit) if secrets else None
    report = Report(document, resolver)
    settings = _settings(path, report, environ)
    report.raise_if_any()
    not_checked = () if not outside_unit or environ.get("CREDENTIALS_DIRECTORY") else _not_checked(document)
    return replace(settings, not_checked=not_checked)


def load_around(path: Path, *, environ: Mapping[str, str] = os.environ) -> tuple[Settings, tuple[Problem, ...]]:
    """What is right in a file, without its secrets, and all that is wrong: for who only looks into the state database.

    What is wrong is as if it were not there. Raises SettingsError where the file says wrongly where the state is.
    """
    document, mistakes = salvage(path)
    report = Report(document, None)
    settings = _settings(path, report, environ)
    problems = SettingsError([*mistakes, *report.problems]).problems
    if any(problem.key in ("daemon", "daemon.state") for problem in problems):
        raise SettingsError(problems)
    return settings, problems


def _settings(path: Path, report: Report, environ: Mapping[str, str]) -> Settings:
    """The settings, as far as they are right."""
    folder = path.absolute().parent
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
    state = _state(path, report, environ)
    refuse_as_state(report, sources, sqlite_path(state))
    return Settings(
        path=path,
        registry=registry,
        daemon=daemon.model_copy(update={"state": state, "plugins_dir": plugins_dir}),
        http=http,
        sources=sources,
        rules=rules,
        notifications=notifications,
        security=security,
        heartbeat=report.section("heartbeat", HeartbeatSettings),
        document=report.document,
        shared=_shared(report, registry),
    )


def _state(path: Path, report: Report, environ: Mapping[str, str]) -> str:
    """Where the state database is, also where other keys of [daemon] are wrong."""
    written, at = report.document.value(("daemon", "state")), ("daemon", "state")
    given = report.check(StateUrl, written, at) if written else None
    url = sqlite_url(path.absolute().parent / sqlite_path(given)) if given else default_state(path, environ)
    file = sqlite_path(url)  # what is kept beside it is beside the file itself, whatever leads there
    return sqlite_url(file.resolve()) if file.is_symlink() else url


def _shared(report: Report, registry: Registry) -> SharedOptions:
    """[channels.*], for the configs of the API; nothing where something is wrong there."""
    tables = report.document.data.get("channels", {})
    return SharedOptions() if report.problems else shared_options(tables, registry, report.resolver)


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
