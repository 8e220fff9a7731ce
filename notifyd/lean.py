"""Importing a library without what it imports only because it happens to be there.

peewee loads the driver of every database that is installed, structlog and httpx load rich: 30 MB and a third of a
second that a daemon has no use for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """While it lasts, these packages are not there; those that are imported already stay."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: it cannot be imported
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
