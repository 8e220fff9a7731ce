"""HTTP/1.1 for clients that may be slow, or mean to be, and that all wait while a poll is at work."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.h11_impl import H11Protocol

from notifyd.right_of_way import RightOfWay

SLOWEST_HEADERS = 10.0
"""Seconds that the head of a request may take to arrive; uvicorn alone would wait for ever."""

MOST_SILENT = 200
"""Connections; beyond that, the one that has been silent for longest is closed for each that comes."""

_SILENT: WeakKeyDictionary[Any, dict[Protocol, None]] = WeakKeyDictionary()
"""By server: the connections without a request, the one that has been so for longest first."""


class Protocol(H11Protocol):
    """uvicorn's, which bounds how much of a head it keeps, and a time for it; and room for who has something to say."""

    slowest = SLOWEST_HEADERS
    _deadline: asyncio.TimerHandle | None = None
    _waiting: asyncio.Task[None] | None = None

    def __init__(self, *args: Any, way: RightOfWay, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._way = way

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection has to say something soon."""
        super().connection_made(transport)
        self._silent = _SILENT.setdefault(self.server_state, {})
        if len(self.connections) > MOST_SILENT and self._silent:
            oldest = next(iter(self._silent))
            oldest._forget()
            oldest.transport.close()
        self._expect()

    def data_received(self, data: bytes) -> None:
        """A part of a head, or of a body. A request waits where somebody goes first: to read it already takes time."""
        if self._way.is_taken and self._is_idle():
            self.flow.pause_reading()
            self._waiting = self.loop.create_task(self._read_later(data))
        else:
            self._read(data)

    async def _read_later(self, data: bytes) -> None:
        await self._way.give()
        if not self.transport.is_closing():
            self._read(data)
            if self._is_idle():
                self.flow.resume_reading()

    def _read(self, data: bytes) -> None:
        """The time for the head ends when the request begins."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._forget()
        elif self._deadline is None and self._is_idle():
            self._expect()

    def on_response_complete(self) -> None:
        """The connection is kept for another request, and silent until that comes."""
        super().on_response_complete()
        if self._is_idle() and not self.transport.is_closing():
            self._silent[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is expected any more."""
        self._forget()
        super().connection_lost(exc)

    def _is_idle(self) -> bool:
        """Whether no request is being read or answered."""
        return getattr(self.cycle, "response_complete", True)

    def _expect(self) -> None:
        self._silent[self] = None
        self._deadline = self.loop.call_later(self.slowest, self.transport.close)

    def _forget(self) -> None:
        self._silent.pop(self, None)
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None
