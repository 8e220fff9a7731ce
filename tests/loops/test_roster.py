"""Configs that come and go while the loops are at work."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from notifyd.core.ids import config_id
from notifyd.roster import Gates, Roster
from notifyd.store import configs
from tests.loops.conftest import Running
from tests.sinks.http import HANG, HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, until, webhook


@pytest.fixture(autouse=True)
def settings(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("ops", sink.url), webhook("dev", sink.url)])


async def test_whoever_goes_through_the_gates_goes_through_those_that_there_were(running: Running) -> None:
    async with running() as daemon:
        gates = daemon.roster.gates
        ops, dev = gates
        seen = []
        for gate in gates:
            gates.remove(config_id("dev"))
            seen.append(gate)
        assert seen == [ops, dev]
        assert (list(gates), len(gates), gates[0]) == ([ops], 1, ops)
        gates.put(dev)
        gates.put(ops)
        assert gates[:] == (ops, dev)  # a config that is replaced keeps its place
        assert isinstance(gates, Gates)


async def test_a_lane_closes_after_its_last_attempt(running: Running, sink: HttpSink, jobs: JobLog, site: Site) -> None:
    closed = asyncio.Event()
    async with running() as daemon:
        lane = daemon.roster.lanes[config_id("ops")]

        async def close() -> None:
            closed.set()

        lane.channel.close = close  # type: ignore[method-assign]
        release = asyncio.Event()

        async def answer(_: Any) -> int:
            await release.wait()
            return 200

        sink.answer = answer
        jobs.add("error", "no")
        await sink.wait_for(2)
        daemon.roster.remove(config_id("ops"), daemon.sender.drained)
        await asyncio.sleep(0)
        assert not closed.is_set()
        release.set()
        await asyncio.wait_for(closed.wait(), 5)
        await until(lambda: site.states("ops") == ["sent"])


async def test_a_lane_that_is_idle_closes_at_once(running: Running) -> None:
    async with running() as daemon:
        daemon.roster.remove(config_id("ops"), daemon.sender.drained)
        await until(lambda: not daemon.roster._leaving)
        assert list(daemon.roster.lanes) == [config_id("dev")]
        daemon.roster.remove("cfg_nobody", daemon.sender.drained)


async def test_a_stop_waits_for_nobody_who_left(running: Running, sink: HttpSink, jobs: JobLog) -> None:
    """An attempt that hangs, of a config that went, when the daemon stops."""
    sink.answer = HANG
    async with running() as daemon:
        jobs.add("error", "no")
        await sink.wait_for(2)
        daemon.roster.remove(config_id("ops"), daemon.sender.drained)
        async with asyncio.timeout(5):
            await daemon.stop(grace=0.1)


async def test_what_came_in_for_a_config_while_it_went_is_cancelled(
    running: Running, sink: HttpSink, jobs: JobLog, site: Site
) -> None:
    """Whatever the order of things: what the state DB says counts, and it is looked at again and again."""
    async with running() as daemon:
        daemon.roster.lanes.pop(config_id("ops"))
        jobs.add("error", "no")
        await until(lambda: site.states("ops") == ["pending"])
        await daemon.store(lambda db: db.run("UPDATE notification_configs SET enabled = 0 WHERE name = 'ops'"))
        assert await daemon.store(configs.cancel_idle, daemon.clock()) == 1
        assert site.states("ops") == ["cancelled"]
    assert site.imbalances() == []


MEETS = '''
import asyncio
from pathlib import Path
from notifyd.api import Channel, Options, hookimpl


class MeetsOptions(Options):
    folder: Path
    name: str
    others: list[str] = []


class Meets(Channel[MeetsOptions]):
    """Is open once the others are at the door too."""

    name = "meets"
    Options = MeetsOptions

    async def open(self):
        (self.options.folder / self.options.name).touch()
        while not all((self.options.folder / other).exists() for other in self.options.others):
            await asyncio.sleep(0.01)

    async def close(self):
        (self.options.folder / f"{self.options.name} has closed").touch()

    async def send(self, notification, ctx):
        pass


@hookimpl
def notifyd_channels():
    return [Meets]
'''


def meeting(site: Site, **others: list[str]) -> None:
    """Configs whose channels wait for these others before they are open."""
    plugins = site.folder / "plugins"
    plugins.mkdir()
    (plugins / "meets.py").write_text(MEETS)
    configs: list[dict[str, Any]] = []
    for name, waited in others.items():
        options = {"folder": str(site.folder), "name": name, "others": waited}
        configs.append({"name": name, "notification_type": "meets", "config": options})
    site.write(sources=[], notifications=configs, daemon={"plugins_dir": str(plugins)})


async def test_channels_open_at_the_same_time_and_keep_their_order(running: Running, site: Site) -> None:
    meeting(site, one=["two"], two=["one"])
    async with asyncio.timeout(8), running() as daemon:
        assert daemon.roster.unopened == {}
        assert [gate.recipient.name for gate in daemon.roster.gates] == ["one", "two"]


async def test_who_is_open_when_the_start_is_given_up_is_closed_again(site: Site) -> None:
    meeting(site, one=[], two=["nobody"])
    settings = site.settings()
    roster = Roster(settings)
    putting = asyncio.create_task(roster.put_all(settings.notifications))
    await until((site.folder / "two").exists)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert (site.folder / "one has closed").exists()
    assert (dict(roster.lanes), list(roster.gates)) == ({}, [])
