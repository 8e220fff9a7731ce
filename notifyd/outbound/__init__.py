"""The one way out: every connection that a channel makes through its `ctx` is made here.

    client.py     sends a request, waits, bounds what comes back     target.py   a URL taken apart, and its secrets
    transport.py  httpx, with connections that are made by           tls.py      whom to trust, what to show
    dialer.py     from a name to a connection, by way of             faults.py   what went wrong, for a person
    resolver.py   from a name to its addresses, and                  excerpt.py  the start of an answer as clean text
    guard.py      who may be called at all                           handshake.py  closes what a cancelled TLS
                                                                                 handshake leaves behind

httpx is imported here and nowhere else, and its types never leave this package.
"""

from notifyd.outbound.client import HttpClient
from notifyd.outbound.dialer import Dialer
from notifyd.outbound.guard import Guard
from notifyd.outbound.resolver import Resolver

__all__ = ["Dialer", "Guard", "HttpClient", "Resolver"]
