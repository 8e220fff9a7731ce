"""`notifyd test`: one real message, sent from here or by the daemon."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from notifyd.cli.trial import Chosen, wait
from notifyd.core.ids import config_id
from notifyd.errors import NotifydError
from notifyd.store import reads
from notifyd.store.lock import Lock
from tests.cli.conftest import Notifyd, Past, aside, from_beginning, hook
from tests.sinks.http import HANG, HttpSink
from tests.sinks.log import JobLog
from tests.system.process import Process
from tests.system.site import Site, webhook

BUGGY = """
from notifyd.api import Channel, Options, hookimpl

class NoOptions(Options):
    pass

class Buggy(Channel[NoOptions]):
    name = "buggy"
    Options = NoOptions

    async def send(self, notification, ctx):
        raise LookupError("oops")

@hookimpl
def notifyd_channels():
    return [Buggy]
"""


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    """A sink on a thread of its own: the command has the test's."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(HttpSink()) as sink:
        yield sink


@pytest.fixture
def known(site: Site, jobs: JobLog, past: Past, sink: HttpSink) -> None:
    """A daemon has run on these settings, and does not any more."""
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[webhook("hook", sink.url)])
    past.poll()


@pytest.mark.usefixtures("known")
def test_it_is_sent_and_recorded(site: Site, sink: HttpSink, notifyd: Notifyd) -> None:
    answer = notifyd("test", "hook")
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert answer.stdout.startswith("sent to hook (webhook) in ")
    assert answer.stdout.endswith(" ms, HTTP 200\n")
    (request,) = sink.requests
    body = request.json()
    assert (body["event_type"], body["notification"]["reason"]) == ("test", "test")
    (attempt,) = site.attempts("hook")
    assert (attempt["success"], attempt["event_type"], attempt["event_id"]) == (1, "test", body["id"])
    assert attempt["delivery_id"] == request.headers["webhook-id"]
    assert site.imbalances() == []


def test_a_channel_that_never_ends_does_not_keep_whoever_tests_it(site: Site, past: Past, notifyd: Notifyd) -> None:
    plugins = site.folder / "plugins"
    plugins.mkdir()
    shutil.copy(Path(__file__).parents[1] / "loops" / "swallows.py", plugins)
    config = {"until": str(site.folder / "never")}
    bad = {"name": "bad", "notification_type": "swallows", "timeout": "100ms", "config": config}
    site.write(sources=[], notifications=[bad], daemon={"plugins_dir": str(plugins)})
    past.poll()
    began = time.monotonic()
    answer = notifyd("test", "bad")
    assert answer.exit_code == 1
    assert "it did not end when it was cancelled, and was left behind" in answer.stderr
    assert time.monotonic() - began < 15


@pytest.mark.usefixtures("known")
def test_as_json_it_is_the_attempt(site: Site, notifyd: Notifyd) -> None:
    answer = notifyd("test", "hook", "--json")
    assert answer.json == notifyd("history", "--json").items[0]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("status", [410, 503])
def test_a_failure_is_said_and_not_tried_again(site: Site, sink: HttpSink, notifyd: Notifyd, status: int) -> None:
    sink.answer = status
    answer = notifyd("test", "hook")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("not sent to hook (webhook): ")
    assert str(status) in answer.stderr
    assert answer.stderr.endswith("; it is not tried again\n")
    assert site.states("hook") == ["dead"]
    assert notifyd("retry", "--state", "dead").stdout == "nothing to send again\n"
    failed = notifyd("test", "hook", "--json")
    assert (failed.exit_code, failed.json["success"]) == (1, False)


@pytest.mark.usefixtures("known")
def test_a_backlog_stays_where_it_is(site: Site, jobs: JobLog, past: Past, sink: HttpSink, notifyd: Notifyd) -> None:
    for n in range(3):
        jobs.add("error", "no", job=f"job {n}")
    past.poll()
    assert notifyd("test", "hook").exit_code == 0
    assert site.states("hook") == ["pending"] * 3 + ["sent"]
    assert len(sink.requests) == 1


@pytest.mark.usefixtures("known")
def test_a_config_that_no_daemon_has_known_keeps_its_name(
    site: Site, jobs: JobLog, sink: HttpSink, notifyd: Notifyd
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("fresh", sink.url)])
    assert notifyd("test", "fresh").exit_code == 0
    for listing in ("deliveries", "history"):
        assert [item["config_name"] for item in notifyd(listing, "--json", "--config-name", "fresh").items] == ["fresh"]
    assert "fresh" in {book["name"] for book in notifyd("status", "--json").json["config_books"]}


@pytest.mark.usefixtures("known")
def test_a_bug_in_a_channel_is_said_with_its_traceback_in_the_log(site: Site, tmp_path: Path, notifyd: Notifyd) -> None:
    (tmp_path / "buggy.py").write_text(BUGGY)
    config = {"name": "buggy", "notification_type": "buggy"}
    site.write(sources=[], notifications=[config], daemon={"plugins_dir": str(tmp_path)})
    answer = notifyd("test", "buggy")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.splitlines()[-1] == (
        "not sent to buggy (buggy): bug in the channel: LookupError: oops; it is not tried again"
    )


@pytest.mark.usefixtures("known")
def test_a_name_that_there_is_not(notifyd: Notifyd) -> None:
    answer = notifyd("test", "hok")
    assert (answer.exit_code, answer.stderr) == (2, 'no notification config is called "hok"; did you mean "hook"?\n')


def test_a_config_that_is_disabled(site: Site, notifyd: Notifyd) -> None:
    site.write(sources=[], notifications=[hook("hook", enabled=False)])
    answer = notifyd("test", "hook")
    assert answer.exit_code == 1
    assert answer.stderr.endswith("hook is disabled (enabled = false), so nothing is sent to it\n")
    assert answer.stderr.startswith(f"{site.file}:")


def test_where_no_daemon_has_ever_run(site: Site, notifyd: Notifyd) -> None:
    site.write(sources=[], notifications=[hook("hook")])
    answer = notifyd("test", "hook")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith(f"there is no state DB at {site.state}")
    assert not site.state.exists()


@pytest.mark.usefixtures("known")
def test_it_needs_its_secrets_only_where_it_sends(site: Site, jobs: JobLog, notifyd: Notifyd) -> None:
    site.write(sources=[], notifications=[hook("hook", config={"url": {"env": "NO_SUCH_URL"}})])
    answer = notifyd("test", "hook")
    assert answer.exit_code == 2
    assert "the environment variable NO_SUCH_URL is not set" in answer.stderr
    lock = Lock(site.state)
    assert lock.take()
    lock.release()


@pytest.mark.usefixtures("known")
def test_ctrl_c_ends_it_at_once_and_is_recorded(site: Site, sink: HttpSink, notifyd: Notifyd) -> None:
    sink.answer = HANG
    command = [sys.executable, "-m", "notifyd", "test", "hook", "--config", str(site.file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not sink.requests:
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, "", "")
    (attempt,) = site.attempts("hook")
    assert (attempt["result"], attempt["error"]) == ("unknown", "unknown: the test was interrupted")
    assert site.states("hook") == ["dead"]


# -- beside a running daemon -------------------------------------------------------------------------


async def test_beside_a_daemon_it_goes_through_its_outbox(site: Site, jobs: JobLog) -> None:
    """The daemon has the secret; the command does without."""
    async with HttpSink() as sink:
        config = {**webhook("hook", sink.url), "config": {"url": {"file": "url"}}}
        (site.folder / "url").write_text(f"{sink.url}/hook")
        site.write(sources=[jobs.source("jobs")], notifications=[config])
        async with Process(site.file):
            (site.folder / "url").unlink()
            answer = await aside("test", "hook", site=site)
            sink.answer = 410
            refused = await aside("test", "hook", site=site)
            sink.answer = 503
            later = await aside("test", "hook", site=site)
            site.write(sources=[jobs.source("jobs")], notifications=[config, hook("new")])
            unknown = await aside("test", "new", site=site)
    assert (answer.exit_code, answer.stderr.split()[:5]) == (0, ["waiting", "for", "the", "daemon", "to"])
    assert answer.stdout.startswith("sent to hook (webhook) in ")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "not sent to hook (webhook): " in refused.stderr
    assert refused.stderr.endswith("; it is not tried again\n")
    assert later.exit_code == 1
    assert re.search(
        r"not sent yet to hook \(webhook\): HTTP 503.*; it is tried again at 20[-\d]+ [\d:]+ \w+\n$", later.stderr
    )
    assert unknown.exit_code == 1
    assert unknown.stderr.startswith("the running daemon does not know new yet")
    assert [attempt["success"] for attempt in site.attempts("hook")][:3] == [1, 0, 0]


@pytest.mark.usefixtures("known")
def test_a_daemon_that_sends_nothing_is_waited_for_only_so_long(
    site: Site, sink: HttpSink, jobs: JobLog, past: Past
) -> None:
    slow = [webhook("hook", sink.url, timeout="100ms")]
    site.write(sources=[jobs.source("jobs")], notifications=slow)
    chosen = Chosen(config_id("hook"), "hook", timedelta(milliseconds=100))
    with (
        reads.opened(f"sqlite:///{site.state}") as db,
        pytest.raises(NotifydError, match=r"the daemon made no attempt within 0\.3 s; the test stays in its outbox"),
    ):
        wait(db, chosen, patience=0.2)
    assert site.states("hook") == ["pending"]
