"""`notifyd run`: the daemon, in the foreground."""

from __future__ import annotations

import faulthandler
from contextlib import suppress
from pathlib import Path

import typer

from notifyd.lean import without

with without("rich"):  # structlog would draw tracebacks with it, which ours are not
    from notifyd import fast, service
    from notifyd.observe import logs, printed
from notifyd.settings import load
from notifyd.store.errors import StateUnusable

NEEDS_A_PERSON = 3
"""The exit status where no restart mends it: the unit then leaves it at that."""


def run(path: Path) -> None:
    """Run until it is told to stop. Raises NotifydError where it cannot; exit 3 where the state DB cannot be used."""
    settings = load(path)
    logs.configure(settings.daemon.log_level)
    printed.redirect()
    with suppress(OSError, ValueError):  # where there is no stderr to write to
        faulthandler.enable()  # what systemd's watchdog ends says where it stood
    try:
        fast.run(service.serve(settings), fast.chosen(settings.daemon.fast))
    except StateUnusable as error:
        from notifyd.cli.output import complain  # not above, as it is made of rich

        complain(str(error))
        raise typer.Exit(NEEDS_A_PERSON) from None
