"""Both ways out, for tests that are to pass on each: asyncio with httpcore, and the extra `fast`.

def pytest_asyncio_loop_factories(item):    # in a conftest.py: every test twice
    return ways.LOOPS

async with aclosing(ways.http_client(timeout=5)) as http:
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop

from notifyd.outbound import HttpClient

LOOPS = {"asyncio": asyncio.new_event_loop, "fast": uvloop.new_event_loop}
ASYNCIO = {"asyncio": asyncio.new_event_loop}


def http_client(**arguments: Any) -> HttpClient:
    """A client that goes the way of the loop that the test runs on."""
    return HttpClient(fast=isinstance(asyncio.get_running_loop(), uvloop.Loop), **arguments)
