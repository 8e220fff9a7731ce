"""The HTTP server that the conformance kit has, for our own tests."""

from notifyd.conformance.http_sink import (
    DRIP,
    DRIP_BODY,
    HALF_CLOSE,
    HANG,
    RESET,
    RESET_IN_BODY,
    Answer,
    Behaviour,
    HttpSink,
    Reply,
    Request,
)

__all__ = [
    "DRIP",
    "DRIP_BODY",
    "HALF_CLOSE",
    "HANG",
    "RESET",
    "RESET_IN_BODY",
    "Answer",
    "Behaviour",
    "HttpSink",
    "Reply",
    "Request",
]
