"""A new state DB at once: what `open_database` made in this process, copied.

To make one is seven migrations, each on the disk before the next: a tenth of a second, and a thousand tests want one.
What they are for is tried by tests/store/test_database.py and test_schema.py, and by every test of a whole process.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from notifyd.store.database import open_database
from notifyd.store.lock import Lock


def put(path: Path) -> None:
    """Put one there; nothing where one is, or was. Nothing in it is of one installation alone."""
    if not path.exists() and not Lock(path).remembers():
        path.touch(mode=0o600)
        path.write_bytes(_made())


@cache
def _made() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.db")
        open_database(f"sqlite:///{path}", create=True).close()
        return path.read_bytes()
