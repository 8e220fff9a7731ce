"""A channel that does not end when it is cancelled, or cancels itself: its lane goes on, and so does the daemon."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifyd.api import CheckContext, Context, Notification
from notifyd.lane import Lane
from notifyd.model import Outcome, Result
from notifyd.patience import MOST, Patience, run
from notifyd.render import load
from tests.loops.conftest import Running, Said
from tests.loops.test_lane import Send, Tiny, lane, sending
from tests.sinks.context import NOW, a_notification
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, until, webhook

DROP_IN = Path(__file__).with_name("swallows.py")


async def swallow(release: asyncio.Event) -> str:
    """Go on whatever is asked, until this is set."""
    while not release.is_set():
        try:
            await release.wait()
        except asyncio.CancelledError:
            continue
    return "late, but sent"


@asynccontextmanager
async def tried(doing: Send, most: int = MOST) -> AsyncIterator[Lane]:
    """A lane that has little patience: a fifth of a second, which is less than its second of courtesy."""
    load()  # the words, which the first attempt would spend its time on
    one = lane(sending(doing), timedelta(seconds=-0.8))
    one.patience = Patience(grace=0.05, most=most)
    yield one
    await one.http.aclose()


async def attempt(one: Lane) -> Outcome:
    async with asyncio.timeout(5):
        return await one.attempt(a_notification(), 1, NOW)


async def test_who_swallows_the_cancellation_is_left_behind_and_named(said: Said) -> None:
    release = asyncio.Event()

    async def send(notification: Notification, ctx: Context) -> str:
        return await swallow(release)

    async with tried(send) as one:
        outcome = await attempt(one)
        assert outcome.result is Result.BUG
        assert outcome.reason.startswith("bug in the channel tiny of ops: no answer within ")
        assert "it did not end when it was cancelled, and was left behind" in outcome.reason
        (line,) = said("left behind", config="ops", channel="tiny")
        assert line["left"] == 1
        release.set()
        await until(lambda: not one.patience.left)


async def test_after_eight_of_them_nothing_more_is_begun_until_one_ends() -> None:
    releases: list[asyncio.Event] = []

    async def send(notification: Notification, ctx: Context) -> str:
        releases.append(asyncio.Event())
        return await swallow(releases[-1])

    async with tried(send) as one:
        try:
            outcomes = await asyncio.gather(*(attempt(one) for _ in range(8)))
            assert {outcome.result for outcome in outcomes} == {Result.BUG}
            assert len(releases) == len(one.patience.left) == 8
            outcome = await attempt(one)
            assert (outcome.result, len(releases)) == (Result.BUG, 8)
            assert "8 attempts before did not end when they were cancelled; set isolate = true" in outcome.reason
            releases[0].set()
            await until(lambda: not one.patience.is_over)
            assert "left behind" in (await attempt(one)).reason
        finally:
            for release in releases:
                release.set()
            await until(lambda: not one.patience.left)


async def test_one_that_ends_within_the_grace_is_heard() -> None:
    async def send(notification: Notification, ctx: Context) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.001)
        return "after all"

    async with tried(send) as one:
        one.patience.grace = 5
        assert await attempt(one) == Outcome(Result.SENT, "after all")


async def test_who_cancels_the_task_that_it_runs_in_has_a_bug() -> None:
    async def send(notification: Notification, ctx: Context) -> None:
        task = asyncio.current_task()
        assert task
        task.cancel()
        await asyncio.sleep(0)

    async with tried(send) as one:
        outcome = await attempt(one)
        assert (outcome.result, outcome.reason) == (Result.BUG, "bug in the channel: CancelledError")


async def test_who_cancels_it_and_returns_has_sent() -> None:
    async def send(notification: Notification, ctx: Context) -> None:
        task = asyncio.current_task()
        assert task
        task.cancel()

    async with tried(send) as one:
        assert await attempt(one) == Outcome(Result.SENT)
        await asyncio.sleep(0)
        assert await attempt(one) == Outcome(Result.SENT)


async def test_who_waits_can_be_cancelled_all_the_same() -> None:
    release, began = asyncio.Event(), asyncio.Event()

    async def send(notification: Notification, ctx: Context) -> str:
        began.set()
        return await swallow(release)

    async with tried(send) as one:
        one.timeout = timedelta(seconds=30)
        task = asyncio.create_task(one.attempt(a_notification(), 1, NOW))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(one.patience.left) == 1
        release.set()
        await until(lambda: not one.patience.left)


async def test_so_it_is_with_open_check_and_close(said: Said) -> None:
    release = asyncio.Event()

    class Endless(Tiny):
        async def open(self) -> None:
            await swallow(release)

        async def close(self) -> None:
            await swallow(release)

        async def check(self, ctx: CheckContext) -> str:
            return await swallow(release)

    one = lane(Endless)
    one.patience = Patience(grace=0.02)
    await one.open(0.02)
    assert await one.check(NOW, 0.02) == (False, f"not done within 0.02 s; {LEFT}")
    await one.close(0.02)
    for event in ("the channel did not open", "the channel did not close"):
        assert said(event)[0]["why"] == f"not done within 0.02 s; {LEFT}"
    release.set()
    await until(lambda: not one.patience.left)


LEFT = "it did not end when it was cancelled, and was left behind"


def test_a_loop_of_one_s_own_ends_all_the_same() -> None:
    release: list[asyncio.Event] = []

    async def main() -> str:
        release.append(asyncio.Event())
        task = asyncio.create_task(swallow(release[0]))
        release.append(task)  # type: ignore[arg-type]  # held, as a channel would
        await asyncio.sleep(0)
        return "done"

    began = time.monotonic()
    assert run(main(), grace=0.05) == "done"
    assert time.monotonic() - began < 2


async def test_what_left_behind_ones_do_later_changes_no_history_and_keeps_nobody(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    plugins, release = site.folder / "plugins", site.folder / "release"
    plugins.mkdir()
    shutil.copy(DROP_IN, plugins)
    bad: dict[str, Any] = {"name": "bad", "notification_type": "swallows", "timeout": "100ms"}
    bad |= {"config": {"until": str(release)}, "group": {"window": "0s"}}
    site.write(
        sources=[jobs.source("jobs")],
        notifications=[bad, webhook("good", sink.url)],
        daemon={"plugins_dir": str(plugins)},
    )
    async with running() as daemon:
        jobs.add("error", "one", job="one")
        jobs.add("error", "two", job="two")
        await sink.wait_for(1)
        await until(lambda: len([a for a in site.attempts("bad") if a["finished_at"]]) >= 2, timeout=10)
        before = site.attempts("bad")[:2]
        assert [each["result"] for each in before] == ["bug", "bug"]
        assert all(LEFT in each["error"] for each in before)
        (one,) = [each for each in daemon.roster.lanes.values() if each.recipient.name == "bad"]
        async with asyncio.timeout(5):
            await daemon.stop(grace=0.1)
        left = one.patience.left
        assert left
        release.touch()
        await until(lambda: not left)
    assert site.attempts("bad")[:2] == before
    assert site.imbalances() == []
