"""The heartbeat: an address of somebody else's that is called while all is well, so that the watcher is watched.

Whoever is there (healthchecks.io and the like) tells people when the calls stay away. So nothing is called while a
loop of the daemon is stuck or fails: a daemon that cannot keep what it finds tells nobody of anything. A source or an
endpoint that fails is no reason: of those the daemon tells by itself.
"""

from __future__ import annotations

import asyncio

import structlog

from notifyd.api import Reject, Retry
from notifyd.api.masking import masked, secrets_of
from notifyd.observe.health import LOOPS, STATE, Health
from notifyd.outbound import HttpClient
from notifyd.settings import HeartbeatSettings

TIMEOUT = 10.0

log = structlog.get_logger("notifyd.heartbeat")


class Heartbeat:
    """Calls `settings.url` every `settings.every`, in a task of its own that nothing waits for."""

    def __init__(self, settings: HeartbeatSettings, health: Health) -> None:
        self.settings, self.health = settings, health
        self._secrets = secrets_of(settings)
        self._http = HttpClient(timeout=TIMEOUT)
        self._said = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        self._task = asyncio.create_task(self._run(), name="heartbeat")

    async def stop(self) -> None:
        """Call no more; what is under way is given up."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._http.aclose()

    async def _run(self) -> None:
        while True:
            await self.beat()
            await asyncio.sleep(self.settings.every.total_seconds())

    async def beat(self) -> None:
        """Call once, or say, once, why not or what came of it."""
        if why := trouble(self.health):
            self._say("the heartbeat is withheld", why)
        elif why := await self._call():
            self._say("the heartbeat did not arrive; it goes on", why)
        else:
            if self._said:
                log.info("the heartbeat arrives again")
            self._said = ""

    async def _call(self) -> str:
        """What went wrong with a call; empty where nothing did."""
        url = self.settings.url
        try:
            answer = await self._http.request("GET", url.reveal() if url else "")
        except (Retry, Reject) as error:
            return masked(error.reason, self._secrets)
        except Exception as error:  # a loop of our own: what it swallows, it says
            return masked(f"{type(error).__name__}: {error}", self._secrets)
        return "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"

    def _say(self, what: str, why: str) -> None:
        if what != self._said:
            log.warning(what, why=why)
        self._said = what


def trouble(health: Health) -> str:
    """Why the daemon is not well; empty where it is."""
    parts = health.report()
    failing = [name for name in (*LOOPS, STATE) if name in parts and not parts[name]["ok"]]
    return "; ".join([*health.stuck(), *(f"the {name} fails: {parts[name]['note']}" for name in failing)])
