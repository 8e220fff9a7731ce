"""A channel in a process of its own: the same API, and whatever it does, the daemon's side of it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from notifyd.isolation.channel import IsolatedChannel
from notifyd.lane import Lane, lane_of
from notifyd.model import Outcome, Result
from notifyd.outbound import Guard
from notifyd.plugin_host import Registry, discover
from notifyd.settings import NotificationSettings
from tests.loops.conftest import Said
from tests.loops.conftest import said as said
from tests.sinks.context import NOW, a_notification
from tests.sinks.http import HANG, HttpSink

CHAOS = Path(__file__).with_name("chaos.py")
TOKEN = "a-secret-token"

Isolated = Callable[..., AbstractAsyncContextManager[Lane]]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("plugins")
    shutil.copy(CHAOS, folder)
    registry = discover(folder)
    assert registry.problems == ()
    return registry


@pytest.fixture
def isolated(registry: Registry) -> Isolated:
    """`async with isolated("raise") as lane`: an isolated lane whose channel does this."""

    @asynccontextmanager
    async def running(
        does: str, guard: Guard | None = None, timeout: float = 10, **options: Any
    ) -> AsyncIterator[Lane]:
        made = registry.channels["chaos"].cls.Options.model_validate({"does": does, "token": TOKEN, **options})
        settings = NotificationSettings("ops", "chaos", made, isolate=True, timeout=timedelta(seconds=timeout))
        lane = lane_of(settings, registry, guard)
        await lane.open()
        try:
            yield lane
        finally:
            await lane.close()

    return running


async def attempt(lane: Lane, number: int = 1) -> Outcome:
    return await lane.attempt(a_notification(), number, NOW)


def pid_of(lane: Lane) -> int:
    channel = lane.channel
    assert isinstance(channel, IsolatedChannel)
    assert channel._process
    return channel._process.pid


def lives(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


# -- the same API --------------------------------------------------------------------------------


async def test_it_sends_over_the_daemons_own_http(isolated: Isolated) -> None:
    async with HttpSink() as sink, isolated("well", url=sink.url + "/hook") as lane:
        assert await attempt(lane) == Outcome(Result.SENT, status_code=200)
        sink.answer = (429, {"Retry-After": "30"}, b"busy")
        assert await attempt(lane, 2) == Outcome(Result.RETRY, "HTTP 429: busy", 429, 30)
        sink.answer = 410
        assert (await attempt(lane, 3)).result is Result.REJECTED
    first = sink.requests[0]
    assert first.body.decode() == a_notification().id
    assert first.headers["user-agent"].startswith("notifyd/")


async def test_it_is_behind_the_same_guard(isolated: Isolated) -> None:
    async with HttpSink() as sink, isolated("well", Guard(()), url=sink.url) as lane:
        outcome = await attempt(lane)
        assert outcome.result is Result.REJECTED
        assert "not public" in outcome.reason
    async with isolated("connect", Guard(()), port=sink.port) as lane:
        assert (await attempt(lane)).result is Result.REJECTED
    assert sink.connections == 0


async def test_it_gets_a_connected_socket(isolated: Isolated) -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.put_nowait(await reader.read())
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        async with isolated("connect", port=server.sockets[0].getsockname()[1]) as lane:
            outcomes = await asyncio.gather(*(attempt(lane) for _ in range(4)))
            assert outcomes == [Outcome(Result.SENT)] * 4
        assert [await asyncio.wait_for(got.get(), 5) for _ in range(4)] == [a_notification().id.encode()] * 4


async def test_words_notes_retry_and_reject_come_back(isolated: Isolated) -> None:
    async with isolated("words") as lane:
        told = f"{a_notification().event.title}, 2, 21:00, 10"
        assert await attempt(lane, 2) == Outcome(Result.SENT, told)
    async with isolated("retry") as lane:
        assert await attempt(lane) == Outcome(Result.RETRY, "come again", 503, 17)
    async with isolated("reject") as lane:
        assert await attempt(lane) == Outcome(Result.REJECTED, "never", 410)


async def test_secrets_get_there_and_stay_there(isolated: Isolated, said: Said) -> None:
    async with isolated("log") as lane:
        assert (await attempt(lane)).result is Result.SENT
    (line,) = said("look", config="ops", delivery=a_notification().id)
    assert (line["token"], line["number"]) == ("<secret>", 7)
    async with isolated("note") as lane:
        assert await attempt(lane) == Outcome(Result.SENT, "with <secret>")


async def test_its_check_runs_there_too(isolated: Isolated) -> None:
    async with HttpSink() as sink, isolated("well", url=sink.url) as lane:
        assert await lane.check(NOW, 5) == (True, "HTTP 200")


async def test_every_channel_of_ours_can_be_isolated() -> None:
    from notifyd.api.options import with_secrets

    url = "https://hooks.example.com/a-secret-path"
    given: dict[str, dict[str, Any]] = {
        "webhook": {"url": url, "headers": {"X-Key": "a-secret-header"}, "auth_token": "t0ken"},
        "slack": {"webhook_url": url, "channel": "#ops"},
        "email": {
            "smtp_host": "mail.example.com",
            "from_address": "Sync <a@example.com>",
            "to_addresses": ["b@example.com"],
            "smtp_username": "me",
            "smtp_password": "pass-word",
        },
    }
    for name, options in given.items():
        kind = discover(None).channels[name].cls.Options
        made = kind.model_validate(options)
        assert kind.model_validate_json(with_secrets(made), strict=True, context={"secrets": str}) == made, name
        assert "a-secret" not in made.model_dump_json()


# -- what it contains ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("raise", "bug in the channel: KeyError: 'oops'"),
        ("sys.exit", "bug in the channel: SystemExit: 3"),
        ("os._exit", "bug in the channel: the channel's process ended: exit status 7"),
        ("crash", "bug in the channel: the channel's process ended: killed by SIGSEGV"),
        ("eat memory", "bug in the channel: MemoryError"),
        ("no open", ""),
        ("nonsense", ""),
        ("print", ""),
        ("leak", ""),
    ],
)
async def test_what_it_does_is_said_in_the_outcome(isolated: Isolated, does: str, reason: str) -> None:
    async with isolated(does) as lane:
        outcome = await attempt(lane)
        assert outcome.result is (Result.BUG if reason else Result.SENT)
        assert outcome.reason.startswith(reason)


@pytest.mark.parametrize("does", ["block", "spin", "swallow"])
async def test_one_that_does_not_end_is_killed_and_blocks_nobody(isolated: Isolated, does: str, said: Said) -> None:
    async with isolated(does, timeout=0.3) as lane:
        pid, began, longest = pid_of(lane), time.monotonic(), 0.0
        task = asyncio.create_task(attempt(lane))
        while not task.done():
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)
        assert await task == Outcome(Result.RETRY, "no answer within 0.3 s")
        assert longest < 1
        while lives(pid):
            assert time.monotonic() - began < 8
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)
        (line,) = said("the channel's process ended", config="ops")
        assert line["why"] == "it was killed, because an attempt did not end when its time was up"


async def test_one_that_hangs_at_an_await_is_cancelled_and_its_process_goes_on(isolated: Isolated) -> None:
    async with isolated("hang", timeout=0.2) as lane:
        pid = pid_of(lane)
        assert await attempt(lane) == Outcome(Result.RETRY, "no answer within 0.2 s")
        await asyncio.sleep(1.3)
        assert pid_of(lane) == pid


async def test_one_that_died_is_started_again_but_not_at_once(isolated: Isolated) -> None:
    async with isolated("os._exit") as lane:
        assert (await attempt(lane)).result is Result.BUG
        outcome = await attempt(lane, 2)
        assert outcome.result is Result.RETRY
        assert outcome.reason.startswith("the channel's process ended; it is started again in ")
        assert outcome.after is not None
        assert 0 < outcome.after <= 1
        await asyncio.sleep(outcome.after)
        assert (await attempt(lane, 3)).result is Result.BUG, "it was there again"
        assert "2 times in a row" in (await attempt(lane, 4)).reason


async def test_one_that_is_killed_from_outside_is_there_again(isolated: Isolated) -> None:
    async with HttpSink() as sink, isolated("well", url=sink.url) as lane:
        os.kill(pid_of(lane), signal.SIGKILL)
        await asyncio.sleep(1.2)
        assert (await attempt(lane)).result is Result.SENT


async def test_one_that_cannot_be_made_says_so(isolated: Isolated, said: Said) -> None:
    async with isolated("no start") as lane:
        outcome = await attempt(lane)
    assert outcome.result in (Result.RETRY, Result.BUG)
    (line,) = said("the channel did not open", config="ops")
    assert "ValueError: will not start with <secret>" in line["why"]


async def test_what_it_prints_is_in_the_log_but_not_all_of_it(isolated: Isolated, said: Said) -> None:
    async with isolated("print") as lane:
        assert (await attempt(lane)).result is Result.SENT
    lines = said("the channel printed", config="ops")
    assert 1 <= len(lines) <= 20
    assert lines[0]["text"] == "la la la"
    left_out = sum(line["lines"] for line in said("more lines that it printed are left out", config="ops"))
    assert len(lines) + left_out > 49_000, "but for what is cut in two"


async def test_what_it_prints_bit_by_bit_does_not_keep_the_loop_busy(
    isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # each print is a write or two
    async with isolated("print", timeout=60) as lane:
        before = time.thread_time()
        assert (await attempt(lane)).result is Result.SENT
        assert time.thread_time() - before < 0.3


async def test_the_traceback_is_in_the_log_and_not_in_the_history(isolated: Isolated, said: Said) -> None:
    async with isolated("raise") as lane:
        assert (await attempt(lane)).reason == "bug in the channel: KeyError: 'oops'"
    (line,) = said("the channel has a bug", config="ops")
    assert "chaos.py" in line["traceback"]


async def test_the_daemon_comes_first(isolated: Isolated) -> None:
    async with isolated("well") as lane:
        pid, ours = pid_of(lane), os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(ours + 10, 19)
        autogroup = Path(f"/proc/{pid}/autogroup")
        assert not autogroup.exists() or autogroup.read_text().endswith("nice 10\n"), "sessions are weighed first"


async def test_it_loads_its_own_plugin_only(isolated: Isolated) -> None:
    async with isolated("modules") as lane:
        outcome = await attempt(lane)
    assert outcome == Outcome(Result.SENT, "notifyd_dropin_chaos")


async def test_its_process_ends_with_the_lane(isolated: Isolated) -> None:
    async with isolated("well") as lane:
        pid = pid_of(lane)
        assert lives(pid)
    assert not lives(pid)


async def test_closing_waits_for_nobody_that_hangs(isolated: Isolated) -> None:
    async with HttpSink() as sink, isolated("block", url=sink.url, timeout=0.2) as lane:
        sink.answer = HANG
        task = asyncio.create_task(attempt(lane))
        await asyncio.sleep(0.1)
        began = time.monotonic()
    assert time.monotonic() - began < 6
    assert (await task).result in (Result.RETRY, Result.BUG)
