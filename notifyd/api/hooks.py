"""The hooks, all of them. Each is called once, at start-up, and hands over classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pluggy

from notifyd.api.channel import Channel
from notifyd.api.filter import Filter

hookspec = pluggy.HookspecMarker("notifyd")
hookimpl = pluggy.HookimplMarker("notifyd")


@hookspec
def notifyd_channels() -> Iterable[type[Channel[Any]]]:
    """Return the Channel classes of this plugin."""
    raise NotImplementedError


@hookspec
def notifyd_filters() -> Iterable[type[Filter[Any]]]:
    """Return the Filter classes of this plugin."""
    raise NotImplementedError
