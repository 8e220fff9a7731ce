"""`notifyd run`: the daemon, in the foreground."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
from contextlib import suppress
from pathlib import Path

import typer

from notifyd.lean import without

with without("rich"):  # structlog would draw tracebacks with it, which ours are not
    import structlog

    from notifyd import fast, service
    from notifyd.observe import logs, printed
from notifyd.daemon import Patience
from notifyd.settings import Settings, load
from notifyd.store.errors import StateUnusable

NEEDS_A_PERSON = 3
"""The exit status where no restart mends it: the unit then leaves it at that."""


LAST_WORDS = 1.0
"""Seconds that what is still at work may take to end, once the daemon has stopped."""


def run(path: Path, patience: Patience | None = None) -> None:
    """Run until it is told to stop. Raises NotifydError where it cannot; exit 3 where the state DB cannot be used."""
    settings = load(path)
    logs.configure(settings.daemon.log_level)
    printed.redirect()
    with suppress(OSError, ValueError):  # where there is no stderr to write to
        faulthandler.enable()  # what systemd's watchdog ends says where it stood
    try:
        fast.run(_serve(settings, patience), fast.chosen(settings.daemon.fast))
    except StateUnusable as error:
        from notifyd.cli.output import complain  # not above, as it is made of rich

        complain(str(error))
        raise typer.Exit(NEEDS_A_PERSON) from None


async def _serve(settings: Settings, patience: Patience | None) -> None:
    """Until it has stopped; then whatever a plugin still does is not waited for."""
    await service.serve(settings, patience)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    stubborn = (await asyncio.wait(tasks, timeout=LAST_WORDS))[1] if tasks else set()
    if stubborn:
        names = sorted(task.get_name() for task in stubborn)
        mend = "give the channel that swallows its cancellation isolate = true"
        structlog.get_logger("notifyd").error("what does not end is left behind", tasks=names, mend=mend)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # the loop would wait for them for ever
