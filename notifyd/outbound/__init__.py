"""The one way out: every connection that a channel makes through its `ctx` is made here.

    client.py     sends a request, waits, bounds what comes back     target.py   a URL taken apart, and its secrets
    endpoint.py   a few connections for each endpoint, of which      tls.py      whom to trust, what to show
    wire.py       is one, for which                                  faults.py   what went wrong, for a person
    over_httpcore.py speaks, or, with the extra `fast`,              excerpt.py  the start of an answer as clean text
    over_httptools.py; both are made by
    dialer.py     from a name to a connection, by way of
    resolver.py   from a name to its addresses, and
    guard.py      who may be called at all

httpx, httpcore and httptools are imported here and nowhere else, and their types never leave this package.
"""

from notifyd.outbound.client import HttpClient
from notifyd.outbound.dialer import Dialer
from notifyd.outbound.guard import Guard
from notifyd.outbound.resolver import Resolver

__all__ = ["Dialer", "Guard", "HttpClient", "Resolver"]
