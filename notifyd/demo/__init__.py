"""The demonstration: the real daemon at work between a small simulated sync system and real sinks.

    sync_system ──rows──► sync-log.db ──► notifyd run ──► sinks ──► story ──► terminal
                                          (child)

`story` is the part to read: it makes each thing happen, waits until it has come true, and says so.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer


def demo(keep: Annotated[bool, typer.Option("--keep", help="Leave the folder, for a look at it.")] = False) -> None:
    """Watch the real daemon at work for half a minute, on a small simulated sync system.

    Everything happens in a temporary folder and on loopback. Ctrl-C ends it cleanly at any time, with exit status 130.
    """
    if find_spec("aiosmtpd") is None:
        typer.echo("The demonstration takes real e-mail, which needs aiosmtpd: pip install 'notifyd[demo]'", err=True)
        raise SystemExit(1)
    try:
        from notifyd.demo import show  # not above: the command is to start quickly

        status = show.run(keep=keep)
    except KeyboardInterrupt:
        status = 130
    if status:
        raise SystemExit(status)
