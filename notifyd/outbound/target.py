"""A URL taken apart: where it leads, how to name it to people, and what in it is secret."""

from __future__ import annotations

import base64
import re
import urllib.parse
from dataclasses import dataclass
from typing import Self

from notifyd.api import Reject
from notifyd.lean import without

with without("click", "pygments", "rich"):  # of httpx's own command
    import httpx

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """One http or https URL. Path, query and userinfo are secret; `label`, "host:port", is not."""

    scheme: str
    host: str  # a name, or an address without brackets
    port: int
    path: bytes  # and query, as they are sent
    authority: str  # the header Host
    label: str
    authorization: str | None  # HTTP Basic, where the URL has a userinfo
    secrets: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises Reject, without quoting the text, where it is no URL that can be called."""
        try:
            url = httpx.URL(text)
            has_host = bool(url.host)  # decodes it, which an impossible "xn--…" does not survive
        except (httpx.InvalidURL, UnicodeError):
            raise Reject("the URL cannot be read; check it for spaces, odd characters and a bad port") from None
        if url.scheme not in _DEFAULT_PORTS:
            raise Reject("the URL must begin with http:// or https://")
        host = url.raw_host.decode()
        port = _DEFAULT_PORTS[url.scheme] if url.port is None else url.port
        if not has_host:
            raise Reject("the URL has no host name")
        if not 0 < port < 65536:
            raise Reject(f"the URL has port {port}, and ports are 1 to 65535")
        return cls(
            scheme=url.scheme,
            host=host,
            port=port,
            path=url.raw_path,
            authority=url.netloc.decode(),
            label=label_of(host, port),
            authorization=_basic(url),
            secrets=frozenset(_secrets(url)),
        )

    @property
    def has_default_port(self) -> bool:
        """Whether the port goes without saying."""
        return self.port == _DEFAULT_PORTS[self.scheme]

    @property
    def origin(self) -> tuple[str, str, int]:
        """What connections can be used for."""
        return self.scheme, self.host, self.port


def label_of(host: str, port: int) -> str:
    """How people write where a connection leads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _basic(url: httpx.URL) -> str | None:
    if not url.userinfo:
        return None
    return "Basic " + base64.b64encode(f"{url.username}:{url.password}".encode()).decode()


def _secrets(url: httpx.URL) -> set[str]:
    """Every text of the URL that an answer might echo: whole, in parts, and both as sent and decoded."""
    path, query, userinfo = url.raw_path.decode().partition("?")[0], url.query.decode(), url.userinfo.decode()
    parts = {url.raw_path.decode(), path, query, userinfo, url.username, url.password, _basic(url) or ""}
    parts.update(re.split("[/&=;]", path), re.split("[&=;]", query))
    return parts | {urllib.parse.unquote(part) for part in parts} | {urllib.parse.unquote_plus(part) for part in parts}
