"""E-mail over SMTP, as plain text and as HTML.

options → channel ─► message       what is sent: a Letter, with its envelope
                  ─► connections   how: few conversations (session), used again
                  ─► answers       what came of it: retry or reject, in words for a person
"""

from __future__ import annotations

from typing import Any

from notifyd.api import Channel, hookimpl
from notifyd_plugins.email.channel import EmailChannel
from notifyd_plugins.email.options import EmailOptions

__all__ = ["EmailChannel", "EmailOptions", "notifyd_channels"]


@hookimpl
def notifyd_channels() -> list[type[Channel[Any]]]:
    """This plugin's channel."""
    return [EmailChannel]
