"""A drop-in channel that swallows its cancellation, until a file is there: copy it into a plugins_dir."""

import asyncio
from pathlib import Path

from notifyd.api import Channel, Context, Notification, Options, hookimpl


class SwallowsOptions(Options):
    """How long it goes on."""

    until: Path


class Swallows(Channel[SwallowsOptions]):
    """Ends once the file is there, and not before."""

    name = "swallows"
    Options = SwallowsOptions

    async def send(self, notification: Notification, ctx: Context) -> str:
        while not self.options.until.exists():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        return "late, but sent"


@hookimpl
def notifyd_channels() -> list[type[Channel]]:
    return [Swallows]
