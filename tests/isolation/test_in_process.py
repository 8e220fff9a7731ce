"""A bad channel inside of the daemon: contained where that can be, and named where it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from notifyd.api import Event, Filter, FilterContext, Pass, Secret, Verdict
from notifyd.api.masking import secrets_of
from notifyd.api.options import MASK
from notifyd.clock import utc_now
from notifyd.core.plan import Recipient
from notifyd.filtering import Gate, ask, at_work
from notifyd.observe.printed import MOST, Printed
from notifyd.observe.stalls import StallWatch, place_of
from tests.cli.conftest import aside
from tests.loops.conftest import Running, Said
from tests.loops.conftest import clock as clock
from tests.loops.conftest import jobs as jobs
from tests.loops.conftest import running as running
from tests.loops.conftest import said as said
from tests.loops.conftest import sink as sink
from tests.loops.conftest import site as site
from tests.sinks.context import an_event
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.process import Process
from tests.system.site import Site, until, webhook

TOKEN = "tok-9f8e7d6c5b4a"
CHAOS = Path(__file__).with_name("chaos.py")


def chaotic(name: str, does: str, *, isolate: bool = False, **options: Any) -> dict[str, Any]:
    """A `[[notifications]]` table whose channel does this."""
    config = {"does": does, **options}
    return {"name": name, "notification_type": "chaos", "isolate": isolate, "config": config, "group": {"window": "0s"}}


def write(site: Site, jobs: JobLog, *configs: dict[str, Any]) -> None:
    folder = site.folder / "plugins"
    folder.mkdir(exist_ok=True)
    shutil.copy(CHAOS, folder)
    site.write(sources=[jobs.source("jobs")], notifications=configs, daemon={"plugins_dir": str(folder)})


async def test_one_that_blocks_the_loop_is_named_in_the_log_and_in_the_history(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, said: Said
) -> None:
    write(site, jobs, chaotic("bad", "block", seconds=1.8, url=sink.url))
    async with running():
        jobs.add("error", "no")
        await sink.wait_for(1)
        await until(lambda: [a for a in site.attempts("bad") if a["finished_at"]])
        await until(lambda: said("the event loop turns again"))
    (line,) = said("the event loop is blocked")
    assert (line["by"], line["mend"]) == ("bad (chaos)", "set isolate = true on this config")
    assert line["where"].startswith("chaos.py:")
    assert said("turns again")[0]["seconds"] >= 1.5
    (attempt,) = site.attempts("bad")
    assert attempt["result"] == "sent"
    assert re.fullmatch(r"it blocked the daemon for [\d.]+ s, at chaos.py:\d+ in send", attempt["error"])


async def test_isolated_it_blocks_nobody(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, said: Said
) -> None:
    bad = chaotic("bad", "block", seconds=1.8, url=sink.url, isolate=True)
    write(site, jobs, bad, webhook("good", sink.url))
    async with running():
        began = time.monotonic()
        jobs.add("error", "no")
        await until(lambda: site.states("good") == ["sent"])
        assert time.monotonic() - began < 1.5
        await until(lambda: site.states("bad") == ["sent"])
    assert said("the event loop is blocked") == []


async def test_after_a_crash_the_next_start_names_who_was_being_sent_to(site: Site, jobs: JobLog) -> None:
    write(site, jobs, chaotic("bad", "os._exit"))
    process = await Process(site.file).__aenter__()
    jobs.add("error", "no")
    assert await process.ended() == 7
    write(site, jobs, chaotic("bad", "os._exit", isolate=True))
    async with Process(site.file) as again:
        line = await again.said("the daemon ended without notice while it was sending")
        assert line["to"] == ["bad (chaos)"]
        assert line["mend"] == "should it happen again, set isolate = true on the one to blame"
        await until(lambda: [a for a in site.attempts("bad") if a["result"] == "bug"])
    first, second, *_ = site.attempts("bad")
    assert first["error"] == "unknown: the daemon stopped"
    assert "the channel's process ended: exit status 7" in second["error"]


async def test_a_daemon_that_is_killed_leaves_no_process_behind_not_even_one_that_blocks(
    site: Site, jobs: JobLog
) -> None:
    write(site, jobs, chaotic("bad", "block", isolate=True))
    async with Process(site.file) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        (child,) = map(int, children.read_text().split())
        jobs.add("error", "no")
        await until(lambda: site.attempts("bad"))
        await asyncio.sleep(0.3)  # by now it sleeps, and hears nothing
        await process.end(signal.SIGKILL)
    await until(lambda: not Path(f"/proc/{child}").exists() or "(zombie)" in status(child))


def status(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/status").read_text()
    return "(zombie)"


async def test_what_a_channel_prints_is_a_line_of_the_log_with_its_name(site: Site, jobs: JobLog) -> None:
    write(site, jobs, chaotic("bad", "print"))
    async with Process(site.file) as process:
        jobs.add("error", "no")
        line = await process.said("printed", timeout=20)
        await until(lambda: site.states("bad") == ["sent"], timeout=20)
    assert (line["text"], line["config"]) == ("la la la", "bad")
    assert len(process.lines("printed")) <= MOST + 1
    assert all(line.startswith("{") for line in process.log.read_text().splitlines())


async def test_what_a_channel_prints_or_logs_by_itself_has_no_secret_of_its_config(site: Site, jobs: JobLog) -> None:
    write(site, jobs, chaotic("bad", "tell", token=TOKEN), chaotic("other", "tell", token=TOKEN[::-1]))
    async with Process(site.file) as process:
        jobs.add("error", "no")
        await until(lambda: site.states("bad") == site.states("other") == ["sent"], timeout=20)
        process.send(signal.SIGHUP)  # the log is set up anew, beside what stands in for standard error
        await process.ready()
        jobs.add("error", "no")
        await until(lambda: site.states("bad") == site.states("other") == ["sent", "sent"], timeout=20)
    log = process.log.read_text()
    assert TOKEN[:5] not in log
    assert TOKEN[::-1][:5] not in log
    assert TOKEN[-5:] not in log
    for text in ("printed", "written", "logged", "formatted", "ValueError: raised", "a thread printed"):
        assert f"{text} {MASK}" in log, text
    assert len([line for line in process.lines("caught") if line["config"] == "bad"]) == 2
    assert all(line.startswith("{") for line in log.splitlines())


@pytest.mark.parametrize("isolate", [False, True])
async def test_one_that_does_not_open_is_said_once_and_tried_again(
    site: Site, jobs: JobLog, running: Running, said: Said, isolate: bool
) -> None:
    there = site.folder / "there"
    write(site, jobs, chaotic("bad", "no open", url=str(there), isolate=isolate))
    async with running() as daemon:
        (trouble,) = daemon.health.unopened_channels()
        assert trouble == "the channel of bad did not open, and is tried again: " + daemon.roster.unopened["bad"]
        assert trouble.endswith("OSError: will not open" + (" (chaos.py:45)" if not isolate else ""))
        await daemon.reload(site.settings())
        assert daemon.health.unopened_channels() == [trouble]
        lane = next(iter(daemon.roster.lanes.values()))
        assert not await lane.open()
        assert len(said("the channel did not open", config="bad", channel="chaos")) == 2, "once for each lane"
        there.touch()
        await until(lambda: not daemon.health.unopened_channels())
        await until(lambda: said("the channel is open after all", config="bad"))


async def test_one_that_does_not_open_is_shown_by_the_commands(site: Site, jobs: JobLog) -> None:
    write(site, jobs, chaotic("bad", "no open"))
    async with Process(site.file) as process:
        status = await aside("status", site=site)
        doctor = await aside("doctor", site=site)
        line = await process.said("the channel did not open")
    assert "trouble: the channel of bad did not open, and is tried again: OSError: will not open" in status.stdout
    assert "bad: its channel did not open: OSError: will not open" in " ".join(doctor.stdout.split())
    assert line["mend"].startswith("mend what it names, or the config's options")


# -- the parts by themselves ---------------------------------------------------------------------


async def test_a_short_standstill_is_nobodys_fault(said: Said) -> None:
    watch = StallWatch(lambda frame, note: "somebody", standstill=0.6)
    watch.start()
    time.sleep(0.2)
    await asyncio.sleep(0.6)
    watch.stop()
    assert said("the event loop") == []


async def test_a_standstill_of_no_plugin_is_said_too(said: Said) -> None:
    notes = []

    def blames(frame: Any, note: str) -> None:
        notes.append((place_of(frame), note))

    watch = StallWatch(blames, standstill=0.3)
    watch.start()
    await asyncio.sleep(0)
    time.sleep(1)
    await asyncio.sleep(0.6)
    watch.stop()
    (line,) = said("the event loop is blocked")
    assert line["by"] == "notifyd"
    assert "test_in_process.py" in line["where"]
    assert len(said("turns again")) == 1
    assert "it blocked the daemon for 0." in notes[0][1]


async def test_what_is_printed_is_said_line_by_line_and_not_without_end(said: Said) -> None:
    out = Printed(window=1)
    print("one\ntw", end="", file=out)
    print("o", file=out)
    assert [line["text"] for line in said("printed")] == ["one", "two"]
    with at_work("ops", ()):
        print(*("x" * 10_000 for _ in range(1000)), sep="\n", file=out)
    lines = said("printed")
    assert len(lines) == MOST
    assert len(lines[-1]["text"]) == 500
    await until(lambda: said("982 more lines that were printed are left out", config="ops"))


def test_a_secret_of_several_lines_is_masked_line_by_line_and_nobody_elses_words_are_touched(said: Said) -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF"
    own = io.StringIO()
    out = Printed(own)
    print("the daemon's last words", file=out)
    with at_work("ops", secrets_of({"key": Secret(key)})):
        print(key, file=out)
    assert [(line["text"], line["config"]) for line in said("printed")] == [(MASK, "ops")] * 3
    assert own.getvalue() == "the daemon's last words\n"


def test_what_a_filter_says_has_no_secret_of_its_config(said: Said) -> None:
    class Teller(Filter[Secret]):
        name = "teller"
        Options = Secret

        def decide(self, event: Event, ctx: FilterContext) -> Verdict:
            logging.getLogger("teller").warning("asked with %s", self.options.reveal())
            raise ValueError(self.options.reveal())

    secret = Secret(TOKEN)
    gate = Gate(Recipient("1", "ops"), {"teller": Teller(secret)}, secrets_of(secret))
    (verdict,) = ask([gate], [an_event(id="1")], utc_now()).values()
    assert verdict == Pass(bug=f"filter teller failed, counted as Pass: ValueError: {MASK}")
    (line,) = said("asked with")
    assert (line["event"], line["config"]) == (f"asked with {MASK}", "ops")


@pytest.mark.parametrize("does", ["raise", "sys.exit", "nonsense", "hang"])
async def test_the_others_get_theirs_whatever_one_does(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, does: str
) -> None:
    write(site, jobs, {**chaotic("bad", does, seconds=0.3), "timeout": "200ms"}, webhook("good", sink.url))
    async with running():
        jobs.add("error", "no")
        await sink.wait_for(1)
        await until(lambda: site.states("good") == ["sent"])
        await until(lambda: [a for a in site.attempts("bad") if a["finished_at"]])
