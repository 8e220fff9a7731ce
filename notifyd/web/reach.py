"""What the web may reach of the daemon: daemon.py hands it over, and nothing else is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from notifyd.clock import Clock
from notifyd.observe.delays import Delays
from notifyd.observe.health import Health
from notifyd.saved import SavedConfigs
from notifyd.settings import Settings
from notifyd.store.readers import Readers
from notifyd.store.thread import StoreThread


@dataclass(frozen=True)
class Reach:
    """`read` runs what reads the state DB, `write` what writes it; `wake` tells the sender that something is due.

    `read_up_to` makes a cursor the words of a person ("key 4711"),
    and says how many gaps it waits for.
    """

    settings: Settings
    health: Health
    delays: Delays
    expected: Sequence[str]
    clock: Clock
    read: Readers
    write: StoreThread
    saved: SavedConfigs
    wake: Callable[[], None]
    read_up_to: Callable[[str], tuple[str | None, int | None]]


def _reach(request: Request) -> Reach:
    reach: Reach = request.app.state.reach
    return reach


Within = Annotated[Reach, Depends(_reach)]
"""The parameter by which an endpoint has it."""
