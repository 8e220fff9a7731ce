"""The plugin API: the only thing a plugin imports.

A channel sends notifications, a filter decides about events, and hooks hand both to notifyd. The network
is reached through a channel's context: `ctx.http` for HTTP, `ctx.connect(host, port)` for any other protocol.
The guide is `plugins/README.md`; everything here is covered by `API_VERSION`.
"""

from notifyd.api.channel import Channel, CheckContext, Context, Logger, Rendered
from notifyd.api.errors import Reject, Retry
from notifyd.api.files import CaFile, FilePath
from notifyd.api.filter import Filter, FilterContext
from notifyd.api.hooks import hookimpl
from notifyd.api.http import Answer, Http, HttpOptions
from notifyd.api.options import SETTINGS_ONLY, TARGET, Form, Options, Secret, SecretUrl
from notifyd.expression import compile_pattern
from notifyd.model import (
    Closes,
    Drop,
    Event,
    EventType,
    Hold,
    Notification,
    Pass,
    Reason,
    Severity,
    Verdict,
    rfc3339,
)

API_VERSION = 1
"""The major version: within it names and meanings stay. A plugin says which it is written for as `api_version`."""

__all__ = [
    "API_VERSION",
    "SETTINGS_ONLY",
    "TARGET",
    "Answer",
    "CaFile",
    "Channel",
    "CheckContext",
    "Closes",
    "Context",
    "Drop",
    "Event",
    "EventType",
    "FilePath",
    "Filter",
    "FilterContext",
    "Form",
    "Hold",
    "Http",
    "HttpOptions",
    "Logger",
    "Notification",
    "Options",
    "Pass",
    "Reason",
    "Reject",
    "Rendered",
    "Retry",
    "Secret",
    "SecretUrl",
    "Severity",
    "Verdict",
    "compile_pattern",
    "hookimpl",
    "rfc3339",
]
