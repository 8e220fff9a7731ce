"""Closes the connection that a cancelled TLS handshake leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class HandshakeWatch:
    """The `trace` extension of one https request.

    httpcore closes the connection of a handshake that fails, but not of one that is cancelled, which
    is what a timeout does: without this an endpoint that accepts and then keeps silent would hold a
    socket for each attempt until some garbage collection.
    """

    def __init__(self) -> None:
        self._connection: Any = None

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._connection = info["return_value"]
        elif event == "connection.start_tls.failed":
            await self._connection.aclose()
