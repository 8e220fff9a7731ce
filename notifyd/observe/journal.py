"""journald's own protocol: a line with its fields, which `journalctl NOTIFYD_DELIVERY=…` then finds.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")

_IDENTIFIER = "notifyd"
_PREFIX = "NOTIFYD_"


class Journal:
    """Sends to the journal without ever waiting for it."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, message: str, priority: int, fields: Mapping[str, object]) -> bool:
        """Whether it took the line: it does not where it is gone, has no room, or the line is too long for it."""
        entry = {"MESSAGE": message, "PRIORITY": priority, "SYSLOG_IDENTIFIER": _IDENTIFIER}
        entry |= {_name(key): value for key, value in fields.items()}
        try:
            self._socket.sendto(b"".join(_assignment(key, str(value)) for key, value in entry.items()), self._path)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let the socket go."""
        self._socket.close()


def _name(key: str) -> str:
    return _PREFIX + "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in key).upper()


def _assignment(key: str, value: str) -> bytes:
    """Where the value has line ends, its length says where it ends: nobody can forge a field."""
    name, data = key.encode(), value.encode(errors="backslashreplace")
    if b"\n" in data:
        return name + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return name + b"=" + data + b"\n"
