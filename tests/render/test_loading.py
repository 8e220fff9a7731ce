"""What the words need is loaded by the first attempt, on a thread: the event loop does not stand still for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

FIRST_SEND = """
import asyncio, sys
from notifyd import render
from notifyd.api import Channel, Options
from notifyd.lane import lane_of
from notifyd.plugin_host import Registered, Registry
from notifyd.settings.model import NotificationSettings
from tests.sinks.context import NOW, a_notification

class Words(Channel):
    name = "words"
    Options = Options

    async def send(self, notification, ctx):
        return f"loaded {render.loaded()}, by then"

async def main():
    registry = Registry(channels={"words": Registered("words", Words, "", "")}, filters={})
    lane = lane_of(NotificationSettings("ops", "words", Options(), where="x:1"), registry)
    print("jinja2" in sys.modules)
    print((await lane.attempt(a_notification(), 1, NOW)).reason)
    await lane.close()

asyncio.run(main())
"""


def test_it_is_loaded_by_the_first_attempt_and_not_before() -> None:
    command = [sys.executable, "-c", FIRST_SEND]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said.splitlines() == ["False", "loaded True, by then"]
