"""What went wrong on the way, in words for a person; the library's own words may hold a secret."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator

from notifyd.outbound.target import Target, label_of
from notifyd.outbound.wire import Broken, ProxyRefused, Unreached

_DROPPED = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)


def explain(error: Exception, host: str, port: int) -> str:
    """One line about a request that got no answer. It names host and port, never path, query or userinfo."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return f"cannot resolve host {host} ({_lower(cause.strerror)})"
    what = next(filter(None, map(_tls, causes)), None) or next(filter(None, map(_network, causes)), None)
    return f"{label_of(host, port)}: {what or _said(error)}"


def explain_proxied(error: Exception, target: Target, proxy: Target) -> str:
    """The same for a request through a proxy: what failed to connect is the way to the proxy."""
    if isinstance(error, ProxyRefused):
        return f"the proxy {proxy.label} lets nothing through: {str(error)[:100]}"
    if isinstance(error, Unreached | OSError) and not any(map(_tls, _causes(error))):
        return f"{explain(error, proxy.host, proxy.port)} (the proxy)"
    return explain(error, target.host, target.port)


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


def _said(error: Exception) -> str:
    return (str(error) if isinstance(error, Broken) else "") or "connection lost"


def _lower(text: str | None) -> str:
    """As the middle of a sentence: "Connection refused" is "connection refused", "IP address" stays."""
    text = text or "no reason given"
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
