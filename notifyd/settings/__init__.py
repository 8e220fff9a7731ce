"""The settings file: TOML in, typed settings out, and every problem at once with its line.

read (document, locate) → find plugins → check each section (model, sources, notifications) → Settings
                                                    └── report: pydantic's errors → problems in plain words
"""

from typing import Any

from notifyd.settings.bodies import Body, BodyError, BodyReader, Fault
from notifyd.settings.columns import Column, Columns, StatusMap
from notifyd.settings.cron import Cron
from notifyd.settings.durations import Duration, format_duration, parse_duration
from notifyd.settings.load import Settings, default_state, load, load_around
from notifyd.settings.model import (
    ActionRule,
    ConsecutiveFailures,
    DaemonSettings,
    Delivery,
    Group,
    HeartbeatSettings,
    HttpSettings,
    Metrics,
    NotificationSettings,
    PatternRule,
    RulesSettings,
    SecuritySettings,
    SourceSettings,
)
from notifyd.settings.problems import Problem, SettingsError
from notifyd.settings.reference import default_config_text
from notifyd.settings.urls import scheme_of, sqlite_path, sqlite_url

__all__ = [
    "ActionRule",
    "Body",
    "BodyError",
    "BodyReader",
    "Column",
    "Columns",
    "ConsecutiveFailures",
    "Cron",
    "DaemonSettings",
    "Delivery",
    "Duration",
    "Fault",
    "Group",
    "HeartbeatSettings",
    "HttpSettings",
    "Metrics",
    "NotificationSettings",
    "PatternRule",
    "Problem",
    "RulesSettings",
    "SecuritySettings",
    "Settings",
    "SettingsError",
    "SourceSettings",
    "StatusMap",
    "default_config_text",
    "default_state",
    "format_duration",
    "json_schema",
    "load",
    "load_around",
    "parse_duration",
    "scheme_of",
    "sqlite_path",
    "sqlite_url",
]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a settings file; config/notifyd.schema.json is its output."""
    from notifyd.settings import schema  # not above: it is also a program, which the import would run twice

    return schema.json_schema()
