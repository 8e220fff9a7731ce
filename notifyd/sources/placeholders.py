"""Turns `:name` placeholders into those of a driver that formats with %."""

from __future__ import annotations

import re
from functools import lru_cache

# What is passed over as it stands: texts, quoted names, comments, PostgreSQL's dollar quotes and `::` casts.
_TOKEN = re.compile(
    r"'(?:[^'\\]|''|\\.)*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/|(\$\w*\$).*?\1|::|:(?P<name>[A-Za-z_]\w*)|%",
    re.DOTALL,
)


@lru_cache(maxsize=256)
def formatted(sql: str, names: frozenset[str]) -> str:
    """The SQL with `%(name)s` for each `:name` that is among the names, and every other % doubled."""

    def replaced(match: re.Match[str]) -> str:
        name = match["name"]
        return f"%({name})s" if name in names else match[0].replace("%", "%%")

    return _TOKEN.sub(replaced, sql)
