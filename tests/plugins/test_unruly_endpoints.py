"""Everything that an endpoint can do wrong, against every channel that speaks HTTP: each ends as documented.

Each reason is a real one, and none holds anything of the URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
import trustme

from notifyd.api import Channel, Reject, Retry
from notifyd_plugins.apprise import AppriseChannel
from notifyd_plugins.slack import SlackChannel
from notifyd_plugins.webhook import WebhookChannel
from tests.outbound import ways
from tests.outbound.places import closed_port, server_side
from tests.sinks.context import TestContext, a_notification
from tests.sinks.http import DRIP, DRIP_BODY, HALF_CLOSE, HANG, RESET, Answer, HttpSink

pytestmark = pytest.mark.filterwarnings(  # Apprise still imports what later Pythons lack
    "ignore:.* is deprecated and slated for removal:DeprecationWarning"
)

IMPATIENT = 0.4  # seconds
SECRETS = ("hook-5ecret", "t0ken", "us3r", "passw0rd")


class Case(NamedTuple):
    """What the endpoint does, and what becomes of the attempt."""

    answer: Answer
    verdict: type[Retry | Reject]
    words: str
    after: float | None = None


CASES = {
    "resets": Case(RESET, Retry, "connection reset"),
    "closes half": Case(HALF_CLOSE, Retry, "it closed the connection without an answer"),
    "fails in its body": Case(b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\noops", Retry, "HTTP 500: oops"),
    "hangs": Case(HANG, Retry, f"timed out after {IMPATIENT} s"),
    "drips": Case(DRIP, Retry, f"timed out after {IMPATIENT} s"),
    "speaks something else": Case(b"220 mail.example ESMTP\r\n\r\n", Retry, "what it answered is not HTTP"),
    "is overrun": Case((429, {}, b"slow down"), Retry, "HTTP 429: slow down"),
    "is overrun and says how long": Case((429, {"Retry-After": "17"}, b""), Retry, "HTTP 429", 17),
    "fails": Case((500, {}, b"oops"), Retry, "HTTP 500: oops"),
    "is overloaded": Case((503, {"Retry-After": "5"}, b""), Retry, "HTTP 503", 5),
    "redirects": Case((302, {"Location": "http://127.0.0.1:1/"}, b""), Reject, "HTTP 302: it redirects"),
    "refuses": Case((400, {}, b"what?"), Reject, "HTTP 400: what?"),
    "is gone": Case((410, {}, b""), Reject, "HTTP 410"),
    "refuses at length": Case((404, {}, b"x" * 5_000_000), Reject, "HTTP 404: xxx"),
}


def webhook(url: str) -> Channel[Any]:
    return WebhookChannel(WebhookChannel.Options.model_validate({"url": url}))


def slack(url: str) -> Channel[Any]:
    return SlackChannel(SlackChannel.Options.model_validate({"webhook_url": url}))


def apprise(url: str) -> Channel[Any]:
    return AppriseChannel(AppriseChannel.Options.model_validate({"url": url.replace("http", "json", 1)}))


OVER_OUR_HTTP = pytest.mark.parametrize("channel_of", [webhook, slack])


@pytest.fixture
async def sink() -> AsyncIterator[HttpSink]:
    async with HttpSink() as sink:
        yield sink


async def outcome(channel: Channel[Any], timeout: float = IMPATIENT) -> Retry | Reject:
    notification = a_notification()
    async with contextlib.aclosing(ways.http_client(timeout=timeout)) as http:
        with pytest.raises((Retry, Reject)) as caught:
            async with asyncio.timeout(10):
                await channel.send(notification, TestContext(notification, http=http, timeout=timeout))
    verdict = caught.value
    assert isinstance(verdict, Retry | Reject)
    assert not [secret for secret in SECRETS if secret in verdict.reason]
    return verdict


def secret_url(port: int, scheme: str = "http") -> str:
    return f"{scheme}://us3r:passw0rd@localhost:{port}/hook-5ecret?key=t0ken"


@OVER_OUR_HTTP
@pytest.mark.parametrize("how", CASES)
async def test_each_ends_as_documented(how: str, channel_of: Callable[[str], Channel[Any]], sink: HttpSink):
    case = CASES[how]
    sink.answer = case.answer
    verdict = await outcome(channel_of(secret_url(sink.port)))
    assert type(verdict) is case.verdict
    assert case.words in verdict.reason
    assert len(verdict.reason) < 600
    assert getattr(verdict, "after", None) == case.after


@pytest.mark.parametrize("how", CASES)
async def test_apprise_tries_all_of_them_again(how: str, sink: HttpSink):
    sink.answer = CASES[how].answer
    verdict = await outcome(apprise(secret_url(sink.port)))
    assert isinstance(verdict, Retry)
    assert "JSON" in verdict.reason or "did not come back" in verdict.reason


@pytest.mark.parametrize("channel_of", [webhook, slack, apprise])
async def test_nobody_there(channel_of: Callable[[str], Channel[Any]]):
    verdict = await outcome(channel_of(secret_url(closed_port())))
    assert isinstance(verdict, Retry)
    assert "connection refused" in verdict.reason.lower()


def expired(ca: trustme.CA) -> ssl.SSLContext:
    return server_side(ca, "localhost", datetime.now(UTC) - timedelta(days=1))


def of_nobody_known(ca: trustme.CA) -> ssl.SSLContext:
    return server_side(ca, "localhost")


@OVER_OUR_HTTP
@pytest.mark.parametrize("tls_of", [expired, of_nobody_known])
async def test_a_bad_certificate(
    tls_of: Callable[[trustme.CA], ssl.SSLContext], channel_of: Callable[[str], Channel[Any]]
):
    async with HttpSink("localhost", tls=tls_of(trustme.CA())) as sink:
        verdict = await outcome(channel_of(secret_url(sink.port, "https")), timeout=5)
        assert isinstance(verdict, Retry)
        assert ": TLS: " in verdict.reason
        assert sink.requests == []


@OVER_OUR_HTTP
async def test_no_tls_at_all(channel_of: Callable[[str], Channel[Any]], sink: HttpSink):
    verdict = await outcome(channel_of(secret_url(sink.port, "https")))
    assert isinstance(verdict, Retry)
    assert sink.requests == []


@OVER_OUR_HTTP
async def test_a_huge_answer_is_an_answer(channel_of: Callable[[str], Channel[Any]], sink: HttpSink):
    sink.answer = (200, {}, b"x" * 5_000_000)
    notification = a_notification()
    async with contextlib.aclosing(ways.http_client(timeout=5)) as http:
        await channel_of(secret_url(sink.port)).send(notification, TestContext(notification, http=http))


@OVER_OUR_HTTP
async def test_what_was_taken_is_sent_though_the_rest_of_the_answer_is_late(
    channel_of: Callable[[str], Channel[Any]], sink: HttpSink
):
    sink.answer = DRIP_BODY
    notification = a_notification()
    async with contextlib.aclosing(ways.http_client(timeout=IMPATIENT)) as http:
        await channel_of(secret_url(sink.port)).send(notification, TestContext(notification, http=http))
