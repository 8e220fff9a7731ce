"""What went wrong on the way, in words for a person; the library's own words may hold a secret."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator

import httpx

from notifyd.outbound.target import Target

_DROPPED = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)


def explain(error: Exception, target: Target) -> str:
    """One line about a request that got no answer. It names host and port, never path, query or userinfo."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return f"cannot resolve host {target.host} ({_lower(cause.strerror)})"
    what = next(filter(None, map(_tls, causes)), None) or next(filter(None, map(_network, causes)), None)
    return f"{target.label}: {what or _protocol(error)}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and everything beneath it, through groups too: all addresses of a name are tried."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for member in error.exceptions:
                yield from _causes(member)
        error = error.__cause__ or error.__context__


def _tls(cause: BaseException) -> str | None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"TLS: {_lower(cause.verify_message).rstrip('.')}"
    if isinstance(cause, ssl.SSLError):
        reason = (cause.reason or "handshake failed").replace("_", " ").lower()
        return f"TLS: {reason}" + (" (does it speak https?)" if "version" in reason or "record" in reason else "")
    return None


def _network(cause: BaseException) -> str | None:
    if not isinstance(cause, OSError) or cause.errno is None:
        return None
    if cause.errno in _DROPPED:
        return "connection reset"
    return _lower(os.strerror(cause.errno))


def _protocol(error: Exception) -> str:
    if isinstance(error, httpx.NetworkError):
        return "connection lost"
    text = str(error)
    if "disconnected" in text:
        return "it closed the connection without an answer"
    if "closed" in text:
        return "it closed the connection in the middle of its answer"
    return "what it answered is not HTTP"


def _lower(text: str | None) -> str:
    """As the middle of a sentence: "Connection refused" is "connection refused", "IP address" stays."""
    text = text or "no reason given"
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
