"""`notifyd run`: the daemon, in the foreground."""

from __future__ import annotations

import asyncio
from pathlib import Path

from notifyd import daemon
from notifyd.observe import logs
from notifyd.settings import load


def run(path: Path) -> None:
    """Run until it is told to stop. Raises NotifydError where it cannot."""
    settings = load(path)
    logs.configure(settings.daemon.log_level)
    asyncio.run(daemon.serve(settings))
