"""The extra `fast`: an event loop and an HTTP parser that are written in C. Where they are installed, they are used."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from importlib import util
from typing import Any

EXTRA = ("httptools", "uvloop")


def installed() -> bool:
    """Whether all of it is there."""
    return all(util.find_spec(name) for name in EXTRA)


def chosen(wanted: bool | None) -> bool:
    """Whether it is used: as wanted, or else if it is there."""
    return installed() if wanted is None else wanted


def run(main: Coroutine[Any, Any, None], fast: bool) -> None:
    """As asyncio.run, on the loop that was chosen."""
    if fast:
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


def said(fast: bool) -> str:
    """What is used, for a person."""
    return "httptools on uvloop" if fast else "httpcore on asyncio"
