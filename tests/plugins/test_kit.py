"""The conformance kit fails bad plugins for the right reason, and stays out of the way of good ones."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import notifyd.api.testing
from notifyd.api import Channel, CheckContext, Context, HttpOptions, Notification
from notifyd.api.testing import HttpServer
from notifyd.conformance.channel_tests import ChannelTests

BAD = Path(__file__).with_name("bad_plugins.py")
CHOSEN = (
    "TestBlocking and not (secrets or same or leaves or hostile or sends)",
    "not (TestBlocking or hostile or sends)",
)
"""As much as shows what is wrong with them, side by side: one that blocks takes its time."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of the bad plugins, as their author would run it."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "test_bad.py").write_text(BAD.read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "-k"]
    runs = [subprocess.Popen([*command, each], cwd=folder, stdout=subprocess.PIPE, text=True) for each in CHOSEN]
    reports = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [1, 1], reports
    return "\n".join(reports)


def failed(report: str, subject: str) -> dict[str, str]:
    """What the checklist says is wrong with one plugin: each failed check with its reason."""
    section = report.split(f" notifyd: {subject} -")[1].split("\n---")[0].split("\n===")[0]
    found = re.findall(r"^  ✗ (.*)\n((?:      .*\n?)*)", section, re.MULTILINE)
    return {label: " ".join(reason.split()) for label, reason in found}


def test_one_that_blocks(report: str) -> None:
    wrong = failed(report, "the channel blocking")
    assert set(wrong) == {
        "a receiver that never answers costs no more than the timeout",
        "a cancellation gets through, at once",
        "it does not block the event loop, also where the receiver is slow",
        "it makes no connection past the guard",
    }
    blocked = wrong["it does not block the event loop, also where the receiver is slow"]
    assert re.fullmatch(r"it blocked the event loop for [\d.]+ s, at \S+:\d+ in \w+: use ctx.http, or .*", blocked)


class LookingOptions(HttpOptions):
    url: str


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_check_may_look_and_what_it_sends_is_named(method: str) -> None:
    class Looking(Channel[LookingOptions]):
        name = "looking"
        Options = LookingOptions

        async def send(self, notification: Notification, ctx: Context) -> None:
            """Nothing of this is tried here."""

        async def check(self, ctx: CheckContext) -> str | None:
            answer = await ctx.http.request(method, f"{self.options.url}/v2/buzz")
            answer.raise_for_status()
            return "there"

    class Tests(ChannelTests):
        channel = Looking

        def options(self, server: HttpServer) -> dict[str, str]:
            return {"url": server.url}

    expected = pytest.raises(pytest.fail.Exception, match=r"a check sends nothing; it sent POST /\S*/v2/buzz")
    with expected if method == "POST" else contextlib.nullcontext():
        Tests().test_its_check()


def test_one_that_takes_everything_for_success(report: str) -> None:
    wrong = failed(report, "the channel optimist")
    assert {
        "408, 425, 429 and 5xx are tried again",
        "redirects and 4xx are final, and none of them is taken for sent",
        "Retry-After is handed on",
        "what a receiver refuses for good is final",
        "a broken connection or a senseless answer is tried again",
        "a refused connection is tried again",
        "a cancellation gets through, at once",
        "what ctx.http raises is not taken for sent, and Retry and Reject stay what they are",
    } <= set(wrong)
    assert wrong["a refused connection is tried again"].endswith("raise Retry; it returned, which means sent")
    assert "it swallowed the cancellation" in wrong["a cancellation gets through, at once"]


def test_one_that_leaks(report: str) -> None:
    wrong = failed(report, "the channel gossip")
    secret = wrong["no secret in what it raises, returns, logs or prints, whatever goes wrong"]
    places = {part.partition(", when")[0] for part in secret.removeprefix("a secret is in ").split("; in ")}
    assert places == {"what it raised or returned", "logging", "what it printed"}
    assert wrong["it leaves no tasks, threads or descriptors behind"].startswith("after close there were left: 3 tasks")
    assert "it does not block the event loop, also where the receiver is slow" not in wrong


def test_a_filter_without_laws(report: str) -> None:
    wrong = failed(report, "the filter moody")
    assert wrong["bad settings are refused"] == "2 was accepted"
    answers = wrong["it answers Pass, Drop or Hold to every event: every type, hostile text, nothing in it"]
    assert answers.startswith("a very long one: it answered 'very long very long")
    assert "it depends on the event, its options and ctx alone: no clock, no memory, no chance" in wrong


class Endless(Channel[HttpOptions]):
    """Goes on whatever it is asked."""

    name = "endless"
    Options = HttpOptions

    async def send(self, notification: Notification, ctx: Context) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue


def test_one_that_never_ends_does_not_keep_the_kit() -> None:
    class Tried(ChannelTests):
        channel = Endless

        def options(self, server: object) -> dict[str, str]:
            return {}

    with pytest.raises(pytest.fail.Exception, match="RuntimeError: it did not end when it was cancelled"):
        Tried().test_its_time_is_up()


def test_what_is_right_is_on_the_list_too(report: str) -> None:
    assert "  ✓ notifyd accepts the class: name, Options, signatures, version" in report


def test_the_api_itself_brings_neither_pytest_nor_a_server() -> None:
    look = (
        "import sys, notifyd.api; "
        "print(sorted(n for n in sys.modules if n.split('.')[0] in ('pytest', 'uvicorn', 'fastapi', 'httpx')"
        " or n.startswith(('notifyd.conformance', 'notifyd.api.testing'))))"
    )
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_door_has_what_it_lists() -> None:
    public = {name for name in vars(notifyd.api.testing) if not name.startswith(("_", "@"))}
    assert public == set(notifyd.api.testing.__all__)
