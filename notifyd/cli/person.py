"""Who is at the command line, as the audit trail names them."""

from __future__ import annotations

import os
import pwd

from notifyd.store.trail import Actor


def person() -> Actor:
    """The user that runs this command."""
    return Actor(f"{user(os.getuid())} at the command line")


def user(number: int) -> str:
    """The name of a user; their number where there is none, as in a container."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"#{number}"
