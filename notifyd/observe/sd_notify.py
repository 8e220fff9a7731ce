"""The line to systemd: one datagram to $NOTIFY_SOCKET, as sd_notify(3) describes it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

_PATIENCE = 0.2  # seconds; a full socket must not hold the event loop


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> None:
    """Tell systemd `lines`, such as "READY=1" and "STATUS=3 sources". Never raises; no systemd, no message."""
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract namespace
        address = "\0" + address[1:]
    # A newline begins the next assignment: one inside a STATUS text must not
    message = "\n".join(" ".join(line.splitlines()) for line in lines).encode(errors="replace")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(_PATIENCE)
        sender.sendto(message, address)
