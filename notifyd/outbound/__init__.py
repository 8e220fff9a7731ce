"""The one way out over HTTP: every request that a channel makes goes through `HttpClient`.

    client.py   sends, waits, bounds what comes back       target.py   a URL taken apart, and its secrets
    faults.py   what went wrong, for a person              excerpt.py  the start of an answer as clean text
    guard.py    who may be called at all                   tls.py      whom to trust
    handshake.py  closes what a cancelled TLS handshake leaves behind

httpx is imported here and nowhere else, and its types never leave this package.
"""

from notifyd.outbound.client import HttpClient
from notifyd.outbound.guard import Guard

__all__ = ["Guard", "HttpClient"]
