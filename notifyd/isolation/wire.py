"""What the daemon and a channel's process say to each other: frames of four bytes of length, then a message.

The daemon speaks pickle, for its values travel whole. The process speaks JSON, because nothing that comes from a
plugin's process is unpickled. An open socket goes over a second pair, in a datagram with the number of the call.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import struct
from typing import Any

LARGEST = 16 * 1024 * 1024
"""Bytes of one message; what is longer is nonsense."""

_LENGTH = struct.Struct("!I")
_CALL = struct.Struct("!Q")


class Nonsense(Exception):
    """What came is no message."""


def pickled(message: tuple[Any, ...]) -> bytes:
    """A frame of the daemon's."""
    return _framed(pickle.dumps(message))


def jsoned(message: dict[str, Any]) -> bytes:
    """A frame of the process's."""
    return _framed(json.dumps(message).encode())


def _framed(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body


async def heard(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next message of the process. Raises IncompleteReadError at its end, Nonsense where it is no message."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > LARGEST:
        raise Nonsense("a message that is too long")
    try:
        message = json.loads(await reader.readexactly(length))
    except ValueError:
        raise Nonsense("a message that is not JSON") from None
    if not isinstance(message, dict):
        raise Nonsense("a message that is no object")
    return message


def told(connection: socket.socket) -> tuple[Any, ...]:
    """The next message of the daemon, in the process; blocks. Raises EOFError when the daemon is gone."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    message: tuple[Any, ...] = pickle.loads(_exactly(connection, length))  # noqa: S301 - the daemon's own
    return message


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)


def hand_over(pair: socket.socket, call: int, connection: socket.socket) -> None:
    """Give an open socket to the other side; ours is closed."""
    with connection:
        socket.send_fds(pair, [_CALL.pack(call)], [connection.fileno()])


def taken_over(pair: socket.socket) -> tuple[int, socket.socket]:
    """The next socket that was given, and for which call."""
    data, descriptors, _, _ = socket.recv_fds(pair, _CALL.size, 1)
    (call,) = _CALL.unpack(data)
    connection = socket.socket(fileno=descriptors[0])
    connection.setblocking(False)
    return call, connection
