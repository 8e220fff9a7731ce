"""Reload: what is wrong is refused and said everywhere, what is right is taken on, and nothing is lost or repeated."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
from contextlib import closing
from shutil import copy2
from typing import Any

import pytest
import tomli_w

from notifyd.cli.reload import reload as reload_here
from notifyd.daemon import Patience
from notifyd.errors import NotifydError
from tests.cli.conftest import Answer, aside
from tests.sinks.http import HttpSink, Request
from tests.sinks.log import JobLog
from tests.system.process import Process
from tests.system.site import Site, free_port, of_type, until, webhook


async def reload(site: Site) -> Answer:
    return await aside("reload", site=site)


async def test_a_bad_file_is_refused_and_said_everywhere(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    port = free_port()
    tables: dict[str, Any] = {
        "sources": [jobs.source("jobs")],
        "notifications": [webhook("hook", sink.url)],
        "http": {"listen": f"127.0.0.1:{port}"},
    }
    site.write(**tables)
    async with Process(site.file) as process:
        site.file.write_text(site.file.read_text() + "\n[rule]\nx = 3\n")
        refused = await reload(site)
        assert (refused.exit_code, refused.stdout) == (1, "")
        first, problem = refused.stderr.splitlines()
        assert first == "the daemon refused the settings, and goes on with the old ones:"
        assert problem.startswith(f"{site.file}:")
        assert "did you mean" in problem
        message = await process.tells_of("settings refused, the old ones go on: ")
        assert problem in message["STATUS"]
        assert "MONOTONIC_USEC" in next(each for each in process.told if "RELOADING" in each)
        (line,) = process.lines("the new settings are refused, the old ones go on")
        assert line["problem"] == problem
        status = await aside("status", site=site)
        assert problem in status.stdout
        health = await _get(port, "/healthz")
        assert health["settings"] == "refused"
        assert str(site.file) not in json.dumps(health)  # anybody may ask
        site.write(**tables)
        taken = await reload(site)
        assert (taken.exit_code, taken.stderr) == (0, "")
        assert "settings were refused" not in (await aside("status", site=site)).stdout
        assert (await _get(port, "/healthz"))["settings"] == "ok"
        jobs.add("error", "still at work")
        await sink.wait_for(1)
        site.write(**{**tables, "sources": [jobs.source("jobs", table="jbs")]})
        taken = await reload(site)
        assert taken.exit_code == 0, "a table may come later"
        assert taken.stderr.startswith('warning: source "jobs": no table "jbs" in')
        assert taken.stderr.endswith('did you mean "jobs"?; it is tried at every poll, and told after 5m\n')


async def test_an_attempt_that_outlasts_a_reload_is_neither_cut_off_nor_repeated(
    site: Site, jobs: JobLog, sink: HttpSink
) -> None:
    answers = asyncio.Event()

    async def slowly(_: Request) -> int:
        await answers.wait()
        return 200

    sink.answer = slowly
    source = jobs.source("jobs")
    site.write(sources=[source], notifications=[webhook("hook", sink.url)])
    async with Process(site.file) as process:
        jobs.add("error", "one")
        await sink.wait_for(1)
        site.write(sources=[source], notifications=[webhook("hook", f"{sink.url}/moved"), webhook("new", sink.url)])
        assert (await reload(site)).exit_code == 0
        jobs.add("error", "two")
        requests = await sink.wait_for(3)
        answers.set()
        await until(lambda: site.states("hook") == ["sent", "sent"])
        assert await process.end() == 0
    assert sorted(request.path for request in requests) == ["/hook", "/moved/hook", "/new"]
    assert [attempt["result"] for attempt in site.attempts("hook")] == ["sent", "sent"]
    assert site.imbalances() == []


async def test_a_reload_while_the_state_db_is_locked_changes_nothing_and_ends_nothing(
    site: Site, jobs: JobLog, sink: HttpSink
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file, patience=Patience(lock=0.5)) as process:
        site.write(sources=[jobs.source("jobs")], notifications=[webhook("new", sink.url)])
        with closing(sqlite3.connect(site.state, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            refused = await reload(site)
            other.execute("ROLLBACK")
        assert refused.exit_code == 1
        assert "database is locked" in refused.stderr
        assert process.lines("the old settings cannot go on yet") == []  # for they have gone on all the while
        jobs.add("error", "one")
        (request,) = await sink.wait_for(1)
        assert await process.end() == 0
    assert request.path == "/hook"


async def test_a_stop_during_a_reload_waits_for_nothing(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file) as process:
        with closing(sqlite3.connect(site.state, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # so that the reload takes its time
            process.send(signal.SIGHUP)
            await process.tells_of("1", key="RELOADING")
            assert await process.end(timeout=15) == 0


async def test_100_reloads_under_load_lose_and_repeat_nothing(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    """The file says now this, now that; signals come faster than they can be obeyed."""
    source, rules = jobs.source("jobs"), {"consecutive_failures": {"threshold": 90, "remind_every": "0s"}}
    for place in range(2):
        site.write(sources=[source], notifications=[webhook("hook", f"{sink.url}/{place}")], rules=rules)
        site.file.rename(site.folder / f"{place}.toml")
    copy2(site.folder / "0.toml", site.file)
    async with Process(site.file) as process:
        for number in range(100):
            jobs.write(jobs.row("error", "no", job=f"job {number} {n}") for n in range(2))
            jobs.add("error", f"again {number}", job="one streak")
            copy2(site.folder / f"{number % 2}.toml", site.folder / "next.toml")
            (site.folder / "next.toml").replace(site.file)
            process.send(signal.SIGHUP)
            await asyncio.sleep(0.03)
        requests = await sink.wait_for(291, timeout=60)  # the last ten of the streak are folded into its announcement
        await until(lambda: site.states("hook").count("sent") == 291, timeout=30)
        assert await process.end() == 0
    assert len({request.headers["webhook-id"] for request in requests}) == len(requests) == 291
    assert {request.path for request in requests} == {"/0/hook", "/1/hook"}
    (announced,) = of_type("consecutive_failures", requests)
    assert announced.json()["details"]["failure_count"] == "90"
    assert len(process.lines("reloaded")) > 1
    assert not [line for line in process.lines() if line["level"] not in ("info", "debug")]
    assert site.imbalances() == []


async def test_what_a_reload_would_change(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    source = jobs.source("jobs")
    hook = webhook("hook", f"{sink.url}/?token=first-secret")
    site.write(sources=[source], notifications=[hook])
    assert "no daemon is running" in (await aside("check", "--diff", site=site)).stderr
    async with Process(site.file):
        same = await aside("check", "--diff", site=site)
        assert same.stdout.startswith("a reload would change nothing of what the daemon, process ")
        assert re.search(r"using since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+\w]+$", same.stdout.strip())
        other = webhook("hook", f"{sink.url}/?token=second-secret", filters={"min_severity": "error"})
        site.write(sources=[source | {"poll": "5s"}], notifications=[other])
        lines = (await aside("check", "--diff", site=site)).stdout.splitlines()
        assert lines[:-1] == [
            '~ sources["jobs"].poll: "100ms" → "5s"',
            '~ notifications["hook"].config.url: <secret> → <secret>',
            '+ notifications["hook"].filters.min_severity = "error"',
        ]
        assert lines[-1].startswith("a reload would change 3 keys of what the daemon, process ")
        assert "-secret" not in (site.folder / "state.db.daemon.json").read_text()
        assert [change["key"] for change in (await aside("check", "--diff", "--json", site=site)).json["changes"]]
        assert (await reload(site)).exit_code == 0
        assert "would change nothing" in (await aside("check", "--diff", site=site)).stdout
        site.file.write_text(tomli_w.dumps({"daemn": {}}))
        assert (await aside("check", "--diff", site=site)).exit_code == 2


async def test_without_a_daemon_there_is_nothing_to_reload(site: Site, jobs: JobLog) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[])
    answer = await reload(site)
    assert answer.exit_code == 1
    assert answer.stderr.startswith(f"no daemon is running on the state DB {site.state}; `notifyd run` starts one; ")
    assert answer.stderr.endswith("where `daemon.state` was changed, restart the daemon that runs on the old one\n")


async def _get(port: int, path: str) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return json.loads(answer.partition(b"\r\n\r\n")[2])


async def test_whoever_waits_for_a_reload_is_told_so(
    site: Site, jobs: JobLog, sink: HttpSink, capsys: pytest.CaptureFixture[str]
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with Process(site.file) as process:
        os.kill(process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(NotifydError, match="has not said within"):
                await asyncio.to_thread(reload_here, site.file, 0.4, 0.1)
        finally:
            os.kill(process.pid, signal.SIGCONT)
    assert capsys.readouterr().err.count("waiting for the daemon, process ") == 1
