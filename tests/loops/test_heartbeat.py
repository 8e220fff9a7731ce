"""The heartbeat: called while all is well, withheld while it is not, and never in anybody's way."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifyd.api.options import SecretUrl
from notifyd.heartbeat import Heartbeat, trouble
from notifyd.observe.health import SENDER, STALLED_AFTER, STATE, STORE, Health
from notifyd.observe.health import source as part_of
from notifyd.settings import HeartbeatSettings
from tests.core.logs import NOON
from tests.loops.conftest import Running, Said
from tests.sinks.http import HANG, HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, webhook

SECRET = "5a1c9f0e-0000-4000-8000-000000000000"


class Ticking:
    """A monotonic clock that a test puts forward."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def heartbeat(url: str, health: Health, every: float = 60) -> Heartbeat:
    return Heartbeat(HeartbeatSettings(url=SecretUrl(url), every=timedelta(seconds=every)), health)


async def test_it_is_called_by_a_daemon_that_is_well(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, said: Said
) -> None:
    site.write(
        sources=[jobs.source("jobs")],
        notifications=[webhook("hook", "http://127.0.0.1:9")],
        heartbeat={"url": f"{sink.url}/{SECRET}", "every": "5s"},
    )
    async with running():
        (call,) = await sink.wait_for(1)
    assert (call.method, call.path, call.body) == ("GET", f"/{SECRET}", b"")
    assert said("heartbeat") == []


async def test_a_hanging_one_holds_up_nothing(site: Site, jobs: JobLog, sink: HttpSink, running: Running) -> None:
    site.write(
        sources=[jobs.source("jobs")],
        notifications=[webhook("hook", f"{sink.url}/hook")],
        heartbeat={"url": f"{sink.url}/{SECRET}"},
    )
    sink.script = [HANG]
    async with running():
        await sink.wait_for(1)
        jobs.add("error", "no")
        await sink.wait_for(2)


async def test_what_goes_wrong_is_said_once_and_without_the_secret(sink: HttpSink, said: Said) -> None:
    beating = heartbeat(f"{sink.url}/{SECRET}", Health())
    sink.script = [404, 500, 200, 404]
    for _ in range(4):
        await beating.beat()
    await beating.stop()
    lines = said("heartbeat")
    assert [line["event"] for line in lines] == [
        "the heartbeat did not arrive; it goes on",
        "the heartbeat arrives again",
        "the heartbeat did not arrive; it goes on",
    ]
    assert lines[0]["why"] == "HTTP 404"
    assert SECRET not in str(lines)


async def test_nobody_there_is_said_without_the_secret(said: Said) -> None:
    beating = heartbeat(f"http://127.0.0.1:9/{SECRET}", Health())
    await beating.beat()
    await beating.stop()
    (line,) = said("the heartbeat did not arrive")
    assert "refused" in line["why"]
    assert SECRET not in str(line)


async def test_it_is_withheld_while_a_loop_fails(sink: HttpSink, said: Said) -> None:
    health = Health()
    beating = heartbeat(f"{sink.url}/x", health)
    health.turn(STORE, NOON, ok=False, note="database or disk is full")
    for _ in range(2):
        await beating.beat()
    assert sink.requests == []
    (line,) = said("the heartbeat is withheld")
    assert line["why"] == "the store fails: database or disk is full"
    health.turn(STORE, NOON, ok=True)
    await beating.beat()
    assert len(sink.requests) == 1
    await beating.stop()


@pytest.mark.parametrize("part", [SENDER, STORE, STATE])
def test_what_fails_is_trouble(part: str) -> None:
    health = Health()
    assert trouble(health) == ""
    health.turn(part, NOON, ok=False, note="no")
    assert trouble(health) == f"the {part} fails: no"


def test_a_source_that_fails_is_told_by_the_daemon_itself() -> None:
    health = Health()
    health.turn(part_of("shop"), NOON, ok=False, note="gone")
    assert trouble(health) == ""


def test_what_is_stuck_is_trouble() -> None:
    ticking = Ticking()
    health = Health(ticking)
    health.turn(SENDER, NOON, ok=True)
    ticking.now = STALLED_AFTER + 1
    assert "the sender has ended no turn for 61 s" in trouble(health)
