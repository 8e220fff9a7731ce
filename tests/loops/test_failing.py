"""A channel that fails: the others are told once, and once more when it delivers; whoever fails with it."""

from __future__ import annotations

from typing import Any

import pytest

from notifyd.core.rules import Rules
from notifyd.daemon import Daemon
from tests.loops.conftest import Clock, Running, Said
from tests.sinks.http import HttpSink, Request
from tests.sinks.log import JobLog
from tests.system.site import Site, until, webhook


@pytest.fixture
def configs(site: Site, jobs: JobLog, sink: HttpSink) -> Any:
    """Write configs of these names; each has a path of its own at the sink."""

    def write(*names: str, **keys: dict[str, Any]) -> None:
        hooks = [webhook(name, sink.url, **keys.get(name, {})) for name in names]
        site.write(sources=[jobs.source("jobs")], notifications=hooks)

    return write


def refuse(sink: HttpSink, *names: str) -> None:
    """These fail, the others work."""
    sink.answer = lambda request: 503 if request.path.strip("/") in names else 200


IN_FLIGHT = "SELECT COUNT(*) FROM notification_history WHERE finished_at IS NULL"


async def broken(site: Site, daemon: Daemon, clock: Clock, jobs: JobLog, *names: str) -> None:
    """Failures come until the breakers of these are open, and a while passes."""
    jobs.write(jobs.row("error", "no", job=f"job {n}") for n in range(6))
    opened = "SELECT COUNT(*) FROM lanes WHERE probe_at IS NOT NULL"
    await until(lambda: site.value(opened) == len(names), what="the breakers open")
    clock.forward(daemon, minutes=2)
    await daemon.channels.look(Rules())


def told(sink: HttpSink, event_type: str) -> list[Request]:
    """The requests that told of such an event."""
    return [request for request in list(sink.requests) if request.json()["event_type"] == event_type]


async def test_the_others_are_told_once_and_told_of_the_end(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock, configs: Any
) -> None:
    configs("bad", "good")
    refuse(sink, "bad")
    async with running() as daemon:
        await broken(site, daemon, clock, jobs, "bad")
        await until(lambda: told(sink, "channel_failing"))
        for _ in range(3):
            clock.forward(daemon, minutes=10)
            await daemon.channels.look(Rules())
        assert site.value("SELECT COUNT(*) FROM events WHERE event_type = 'channel_failing'") == 1
        refuse(sink)
        await until(lambda: site.value(IN_FLIGHT) == 0)  # a probe refused just before sets its pause later
        clock.forward(daemon, minutes=70)
        await until(lambda: site.value("SELECT probe_at FROM lanes WHERE condition IS NOT NULL") is None)
        await daemon.channels.look(Rules())
        await until(lambda: told(sink, "recovered"))
        await until(lambda: set(site.states("bad")) == {"sent"})
    (failing,), (recovered,) = told(sink, "channel_failing"), told(sink, "recovered")
    assert (failing.path, recovered.path) == ("/good", "/good")
    assert "Deliveries to bad keep failing since" in failing.json()["message"]
    assert "503" in failing.json()["message"]
    assert recovered.json()["closes"] == {"id": failing.json()["id"], "event_type": "channel_failing"}
    assert ("channel_failing", "dropped") in site.decided("bad")
    assert site.imbalances() == []


async def test_what_was_given_up_is_said(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock, configs: Any
) -> None:
    configs("gone", "good")
    sink.answer = lambda request: 410 if request.path == "/gone" else 200
    async with running() as daemon:
        await broken(site, daemon, clock, jobs, "gone")
        await until(lambda: told(sink, "channel_failing"))
    said = told(sink, "channel_failing")[0].json()
    assert int(said["details"]["given_up"]) >= 2
    assert f"{said['details']['given_up']} were given up, and can be sent again with `notifyd retry`" in said["message"]


async def test_two_that_fail_do_not_tell_each_other_in_circles(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock, configs: Any
) -> None:
    configs("one", "two")
    refuse(sink, "one", "two")
    async with running() as daemon:
        await broken(site, daemon, clock, jobs, "one", "two")
        for _ in range(10):
            clock.forward(daemon, minutes=10)
            await daemon.channels.look(Rules())
        assert site.value("SELECT COUNT(*) FROM events WHERE event_type = 'channel_failing'") == 2
        refuse(sink)
        await until(lambda: site.value(IN_FLIGHT) == 0)  # a probe refused just before sets its pause later
        clock.forward(daemon, minutes=70)
        await until(lambda: site.value("SELECT COUNT(*) FROM lanes WHERE probe_at IS NOT NULL") == 0)
        await daemon.channels.look(Rules())
        clock.forward(daemon, minutes=70)
        await until(lambda: set(site.states("one") + site.states("two")) == {"sent"})
    assert site.value("SELECT COUNT(*) FROM events WHERE event_type = 'recovered'") == 2
    assert site.imbalances() == []


async def test_where_nobody_else_can_be_told_it_is_said_in_the_log_and_by_health(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock, configs: Any, said: Said
) -> None:
    configs("only")
    refuse(sink, "only")
    async with running() as daemon:
        await broken(site, daemon, clock, jobs, "only")
        part = daemon.health.report()["channel:only"]
    assert said("the channel fails; nobody else can be told", config="only")
    assert (part["ok"], "503" in part["note"]) == (False, True)
    assert site.decided("only")[-1] == ("channel_failing", "dropped")
    assert site.value("SELECT untold FROM events WHERE event_type = 'channel_failing'") == 1


async def test_an_outage_goes_on_over_a_restart_and_ends_with_its_config(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock, configs: Any
) -> None:
    configs("bad", "good")
    refuse(sink, "bad")
    async with running() as daemon:
        await broken(site, daemon, clock, jobs, "bad")
        await until(lambda: told(sink, "channel_failing"))
    async with running() as daemon:
        await daemon.channels.look(Rules())
        assert site.value("SELECT COUNT(*) FROM events WHERE event_type = 'channel_failing'") == 1
    configs("bad", "good", bad={"enabled": False})
    async with running() as daemon:
        await daemon.channels.look(Rules())
        await until(lambda: told(sink, "recovered"))
    assert told(sink, "recovered")[0].json()["message"].startswith("bad is not used any more")


async def test_a_short_outage_is_no_news(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock, configs: Any
) -> None:
    configs("bad", "good")
    refuse(sink, "bad")
    async with running() as daemon:
        jobs.write(jobs.row("error", "no", job=f"job {n}") for n in range(6))
        await until(lambda: site.value("SELECT COUNT(*) FROM lanes WHERE probe_at IS NOT NULL") == 1)
        await daemon.channels.look(Rules())
        refuse(sink)
        await until(lambda: set(site.states("bad")) == {"sent"}, timeout=20)
        clock.forward(daemon, minutes=5)
        await daemon.channels.look(Rules())
    assert told(sink, "channel_failing") == []
