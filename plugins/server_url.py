"""The address of a server that a channel calls: an option that people see, and a target that the API guards."""

from __future__ import annotations

import urllib.parse
from typing import Annotated

from pydantic import AfterValidator

from notifyd.api import TARGET, Form


def _server(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not an address") from None
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not plain:
        raise ValueError('is not the address of a server: "https://push.example.com"')
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("an address holds no user, query or fragment")
    return url.rstrip("/")


_HOST = "(?:[A-Za-z0-9_-]{1,63}\\.){0,6}[A-Za-z0-9_-]{1,63}"
_PORT = "(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
_PATH = '(?:/[!"$->@-~]*)?'  # neither ? nor #

ServerUrl = Annotated[str, AfterValidator(_server), Form(f"^[Hh][Tt][Tt][Pp][Ss]?://{_HOST}{_PORT}{_PATH}$"), TARGET]
"""An http or https URL without a user or a query; the slash at its end is taken off."""
