"""What expired while nothing followed that could say so is told by a notice of its own."""

from __future__ import annotations

from typing import Any

from notifyd.core.rules import Rules
from notifyd.daemon import Daemon
from tests.loops.conftest import Clock, Running
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, until, webhook


def expiring(site: Site, jobs: JobLog, sink: HttpSink, *others: dict[str, Any]) -> None:
    """A config for which an hour is too late."""
    hook = webhook("hook", sink.url, delivery={"expire_after": "1h"})
    site.write(sources=[jobs.source("jobs")], notifications=[hook, *others])


async def expired(site: Site, daemon: Daemon, clock: Clock, jobs: JobLog) -> None:
    """Two failures are found while it fails, and more than an hour passes."""
    jobs.write(jobs.row("error", "no", job=f"job {n}") for n in range(2))
    await until(lambda: site.states("hook") == ["retrying", "retrying"])
    clock.forward(daemon, minutes=70)
    await until(lambda: site.states("hook") == ["expired", "expired"])


async def test_the_config_is_told_once_it_works_again(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    expiring(site, jobs, sink, webhook("system", sink.url, system=True))
    sink.answer = lambda request: 200 if request.path == "/system" else 503
    async with running() as daemon:
        await expired(site, daemon, clock, jobs)
        for _ in range(3):
            await daemon.channels.look(Rules())
        await until(lambda: site.states("hook") == ["expired", "expired", "retrying"])
        clock.forward(daemon, minutes=180)
        sink.answer = 200
        before = len(sink.requests)
        await until(lambda: site.states("hook") == ["expired", "expired", "sent"])
    (told,) = [request.json() for request in sink.requests[before:] if request.path != "/system"]
    assert (told["event_type"], told["title"]) == ("channel_failing", "Not Told In Time: hook")
    assert told["message"].startswith("2 events were not delivered in time, the oldest found about ")
    assert "could not be delivered in time" not in told["message"], "it is not said twice"
    assert ("channel_failing", "dropped") in site.decided("system")
    assert site.imbalances() == []


async def test_what_follows_says_it_instead(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    expiring(site, jobs, sink)
    sink.answer = 503
    async with running() as daemon:
        await expired(site, daemon, clock, jobs)
        sink.answer = 200
        jobs.add("error", "and now", job="another")
        await until(lambda: site.states("hook") == ["expired", "expired", "sent"])
        await daemon.channels.look(Rules())
        assert site.states("hook") == ["expired", "expired", "sent"]
    assert "2 events could not be delivered in time" in sink.requests[-1].json()["message"]


async def test_a_notice_that_is_lost_is_not_made_again(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    """It is dead, as anything else; and what it told is left to what follows."""
    expiring(site, jobs, sink)
    sink.answer = 503
    async with running() as daemon:
        await expired(site, daemon, clock, jobs)
        sink.answer = 400
        await daemon.channels.look(Rules())
        await until(lambda: site.states("hook") == ["expired", "expired", "dead"])
        for _ in range(3):
            await daemon.channels.look(Rules())
        assert site.states("hook") == ["expired", "expired", "dead"]
        sink.answer = 200
        jobs.add("error", "and now", job="another")
        await until(lambda: site.states("hook")[3:] == ["sent"])
    assert "2 events could not be delivered in time" in sink.requests[-1].json()["message"]
    assert site.imbalances() == []
