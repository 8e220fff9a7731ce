"""Database URLs. In this version a database is an SQLite file: `sqlite:///` and then its path."""

from __future__ import annotations

from pathlib import Path

_SQLITE = "sqlite:///"
_LATER = ("postgresql", "postgres", "mysql", "mariadb")
_USAGE = "expected sqlite:/// and the file's path, such as sqlite:////var/lib/shop/shop.db"


def check_url(url: str) -> str:
    """The url, if this version can open it. Raises ValueError with one line that quotes nothing of it."""
    scheme, separator, _ = url.partition(":")
    if separator and scheme.partition("+")[0].lower() in _LATER:
        raise ValueError(f"{scheme} is not built yet in this version; only sqlite is")
    if not url.startswith(_SQLITE) or url == _SQLITE:
        raise ValueError(_USAGE)
    path = url.removeprefix(_SQLITE)
    if path.startswith(":memory:"):
        raise ValueError(f"a database in memory is seen by nobody else; {_USAGE}")
    if "?" in path or "\0" in path:
        raise ValueError(f"a path has no ? and no control characters; {_USAGE}")
    return url


def sqlite_path(url: str) -> Path:
    """The path of the file that a checked sqlite url names: four slashes begin an absolute one."""
    return Path(url.removeprefix(_SQLITE))


def sqlite_url(path: Path) -> str:
    """The url of an SQLite file; the inverse of `sqlite_path`."""
    return f"{_SQLITE}{path}"
