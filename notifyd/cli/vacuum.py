"""`notifyd vacuum`: make the file of the state DB as small as what is in it."""

from __future__ import annotations

from pathlib import Path

from notifyd.cli.options import read_settings
from notifyd.cli.output import print_json, say
from notifyd.settings import sqlite_path
from notifyd.store import reads
from notifyd.store.lock import alone
from notifyd.store.vacuum import vacuum as write_anew

MEGABYTE = 1_000_000


def vacuum(config: Path, *, as_json: bool) -> None:
    """Write it anew. Raises StoreError beside a running daemon, whose polls and sends would have to wait."""
    state = read_settings(config).daemon.state
    path = sqlite_path(state)
    with reads.opened(state) as db, alone(path):
        before, after = write_anew(db)
    if as_json:
        print_json({"state": str(path), "bytes_before": before, "bytes": after})
    else:
        say(f"{path}: {before / MEGABYTE:.1f} MB before, {after / MEGABYTE:.1f} MB now")
