"""Database URLs: `sqlite:///` and a file's path, or the server, user and database of PostgreSQL and MySQL."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

_ODD_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})|%00")
_SQLITE = "sqlite:///"
_SCHEMES = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_USAGE = "expected sqlite:/// and the file's path, such as sqlite:////var/lib/shop/shop.db"
_SERVER_USAGE = "expected {scheme}://USER:PASSWORD@HOST/DATABASE"


def scheme_of(url: str) -> str:
    """The kind of database: "sqlite", "postgresql" or "mysql"; empty for another."""
    return _SCHEMES.get(url.partition(":")[0].lower(), "")


def check_url(url: str) -> str:
    """The url, if it names an SQLite file. Raises ValueError with one line that quotes nothing of it."""
    if scheme_of(url) in ("postgresql", "mysql"):
        raise ValueError("the state is kept in SQLite in this version; " + _USAGE)
    if not url.startswith(_SQLITE) or url == _SQLITE:
        raise ValueError(_USAGE)
    path = url.removeprefix(_SQLITE)
    if path.startswith(":memory:"):
        raise ValueError(f"a database in memory is seen by nobody else; {_USAGE}")
    if "?" in path or "\0" in path:
        raise ValueError(f"a path has no ? and no control characters; {_USAGE}")
    return url


def check_source_url(url: str) -> str:
    """The url, if a sync log can be read there. Raises ValueError with one line that quotes nothing of it."""
    scheme = scheme_of(url)
    if scheme in ("postgresql", "mysql"):
        _check_server(url, _SERVER_USAGE.format(scheme=scheme))
        return url
    if scheme == "sqlite":
        return check_url(url)
    raise ValueError(f"{_USAGE}; or postgresql:// or mysql://, then USER:PASSWORD@HOST/DATABASE")


def _check_server(url: str, usage: str) -> None:
    try:
        parts = urlsplit(url)
        whole = bool(parts.path.strip("/")) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or not url.isprintable() or " " in url:
        raise ValueError(f"{usage}; special characters in the password are written as %XX")
    if url.partition("?")[0].count("@") > 1:
        raise ValueError("it has more than one @; one that is part of the password is written as %40")
    if _ODD_PERCENT.search(url):
        raise ValueError("a % in it begins no %XX of a character; one that is part of the password is written as %25")


def sqlite_path(url: str) -> Path:
    """The path of the file that a checked sqlite url names: four slashes begin an absolute one."""
    return Path(url.removeprefix(_SQLITE))


def sqlite_url(path: Path) -> str:
    """The url of an SQLite file; the inverse of `sqlite_path`."""
    return f"{_SQLITE}{path}"
