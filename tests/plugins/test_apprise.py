"""The Apprise channel against a real HTTP server, through Apprise's own json:// service."""

from __future__ import annotations

import asyncio
import io
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from notifyd.api import EventType, Notification, Retry, Severity
from notifyd.plugin_host import discover
from notifyd_plugins.apprise import THREADS, AppriseChannel, AppriseOptions, notifyd_channels
from tests.outbound.places import closed_port
from tests.sinks.context import TestContext, a_notification, an_event
from tests.sinks.http import HANG, RESET, HttpSink

pytestmark = pytest.mark.filterwarnings(  # it still imports what later Pythons lack
    "ignore:.* is deprecated and slated for removal:DeprecationWarning"
)

SECRETS = ("us3r", "passw0rd", "hook-5ecret", "t0ken", "dXMzcjpwYXNzdzByZA")


@pytest.fixture
async def sink() -> AsyncIterator[HttpSink]:
    async with HttpSink() as sink:
        yield sink


@pytest.fixture
def everything() -> Iterator[io.StringIO]:
    """All that would get into the daemon's log at its lowest level; pytest's own listens where nobody else does."""
    text = io.StringIO()
    handler, root = logging.StreamHandler(text), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.setLevel(level)
    root.removeHandler(handler)


def url_of(port: int) -> str:
    return f"json://us3r:passw0rd@127.0.0.1:{port}/hook-5ecret/x?-key=t0ken"


def channel(url: str) -> AppriseChannel:
    return AppriseChannel(AppriseOptions.model_validate({"url": url}))


async def send(port: int, notification: Notification | None = None, timeout: float = 5.0) -> None:
    notification = notification or a_notification()
    await channel(url_of(port)).send(notification, TestContext(notification, timeout=timeout))


def problem(url: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        AppriseOptions.model_validate({"url": url})
    ((text),) = [error["msg"] for error in caught.value.errors()]
    return text


def test_the_plugin_gives_the_channel():
    assert notifyd_channels() == [AppriseChannel]
    assert not AppriseChannel.api_allowed


# What is sent


async def test_title_text_and_kind_are_sent(sink: HttpSink):
    notification = a_notification()
    await send(sink.port, notification)
    (request,) = sink.requests
    words = TestContext(notification).render()
    told = request.json()
    assert (told["title"], told["type"]) == (words.title, "failure")
    assert told["message"].split() == words.text.split()


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (an_event(severity=Severity.INFO), "info"),
        (an_event(severity=Severity.WARNING), "warning"),
        (an_event(severity=Severity.CRITICAL), "failure"),
        (an_event(severity=Severity.INFO, event_type=EventType.RECOVERED), "success"),
    ],
)
async def test_the_severity_decides_the_kind(event: Any, kind: str, sink: HttpSink):
    await send(sink.port, a_notification(event))
    assert sink.requests[0].json()["type"] == kind


async def test_the_attempts_of_one_config_run_beside_each_other(sink: HttpSink):
    together = asyncio.Barrier(THREADS)

    async def wait(_: Any) -> int:
        async with asyncio.timeout(10):
            await together.wait()
        return 200

    sink.answer = wait
    config, notification = channel(url_of(sink.port)), a_notification()
    context = TestContext(notification, timeout=10)
    await asyncio.gather(*(config.send(notification, context) for _ in range(THREADS)))


# What came of it


async def test_a_refusal_says_what_was_answered(sink: HttpSink):
    sink.answer = (404, {}, b"no such\nhook")
    with pytest.raises(Retry) as caught:
        await send(sink.port)
    assert caught.value.status_code == 404
    assert "error=404" in str(caught.value)
    assert "no such" in str(caught.value)


async def test_no_connection_says_why():
    with pytest.raises(Retry, match=r"Connection error occurred .* to 127\.0\.0\.1.*; .*Connection refused"):
        await send(closed_port())


async def test_a_reset_says_so(sink: HttpSink):
    sink.answer = RESET
    with pytest.raises(Retry, match=r"Connection error occurred .*; .*(reset|aborted)"):
        await send(sink.port)


async def test_the_reasons_of_attempts_are_not_mixed_up(sink: HttpSink):
    sink.answer = lambda request: (500 + int(request.path[-1]), {}, b"")

    async def reason(number: int) -> str:
        notification = a_notification()
        config = channel(f"json://127.0.0.1:{sink.port}/{number}")
        with pytest.raises(Retry) as caught:
            await config.send(notification, TestContext(notification))
        return str(caught.value)

    reasons = await asyncio.gather(*(reason(number) for number in range(8)))
    for number, text in enumerate(reasons):
        assert [code for code in range(500, 508) if f"error={code}" in text] == [500 + number]


@pytest.mark.parametrize("how", ["refuses", "resets", "answers"])
async def test_nothing_of_the_url_is_in_a_reason_or_a_log(
    how: str, sink: HttpSink, everything: io.StringIO, capfd: pytest.CaptureFixture[str]
):
    sink.answer = RESET if how == "resets" else lambda r: (400, {}, f"{r.path} {r.headers}".encode())
    with pytest.raises(Retry) as caught:
        await send(closed_port() if how == "refuses" else sink.port)
    told = f"{caught.value} {everything.getvalue()} {''.join(capfd.readouterr())}"
    assert not [secret for secret in SECRETS if secret in told]
    assert "500: QuickBooks said" not in told  # nor what was to be sent


async def test_an_attempt_has_its_time_and_no_more(sink: HttpSink):
    sink.answer = HANG
    with pytest.raises(Retry, match=r"^apprise did not come back within 0\.2 s$"):
        await send(sink.port, timeout=0.2)


async def test_threads_that_hang_keep_their_places(sink: HttpSink):
    sink.answer = HANG
    config, notification = channel(url_of(sink.port)), a_notification()
    context = TestContext(notification, timeout=0.2)
    for _ in range(2):
        tries = [config.send(notification, context) for _ in range(THREADS)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Retry}
    assert len(await sink.wait_for(THREADS)) == THREADS
    assert sum(thread.name == "apprise" for thread in threading.enumerate()) == THREADS


# Options


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("jsn://us3r:passw0rd@127.0.0.1/", "apprise cannot use this URL: Unparseable URL"),
        ("slack://hook-5ecret", "apprise cannot use this URL: An invalid Slack"),
        ("hook-5ecret", "apprise cannot use this URL: "),
        ("", "is empty"),
    ],
)
def test_a_bad_url_is_refused_when_the_settings_are_read(url: str, words: str):
    text = problem(url)
    assert words in text
    assert not [secret for secret in SECRETS if secret in text]


def test_a_url_may_stay_unresolved_where_nothing_is_sent():
    assert not AppriseOptions.model_validate({"url": {"env": "APPRISE_URL"}}).url.resolved


def test_the_plugin_is_there_without_apprise_and_says_how_to_get_it(tmp_path: Path):
    (tmp_path / "apprise.py").write_text("raise ImportError('not installed')\n")
    code = """
import sys
from notifyd.plugin_host import discover
from notifyd_plugins.apprise import AppriseOptions
registry = discover(None)
print([str(problem) for problem in registry.problems], 'apprise' in registry.channels)
try:
    AppriseOptions.model_validate({"url": "json://127.0.0.1/"})
except ValueError as error:
    print(error.errors()[0]["msg"])
"""
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    found, said = run.stdout.splitlines()
    assert found == "[] True"
    assert said == "Value error, needs Apprise, which is not installed; pip install 'notifyd[apprise]'"


def test_apprise_is_not_loaded_before_a_config_needs_it():
    code = "from notifyd.plugin_host import discover; import sys; discover(None); print('apprise' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_it_is_found_like_any_plugin():
    assert discover(None).channels["apprise"].cls is AppriseChannel
