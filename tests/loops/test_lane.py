"""A lane: whatever a channel does in an attempt, the answer is an outcome, and no secret is in it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from notifyd.api import (
    Channel,
    CheckContext,
    Context,
    Http,
    Logger,
    Notification,
    Options,
    Reject,
    Retry,
    Secret,
    SecretUrl,
)
from notifyd.api.masking import masked, secrets_of
from notifyd.errors import NotifydError
from notifyd.lane import Checked, Lane, lane_of
from notifyd.model import Outcome, Result
from notifyd.plugin_host import Registered, Registry
from notifyd.settings.model import NotificationSettings
from tests.loops.conftest import Said
from tests.sinks.context import NOW, a_notification
from tests.sinks.http import HttpSink

Send = Callable[[Notification, Context], Awaitable[Any]]

TOKEN = "xoxb-11-very-secret"
HOOK = "https://user:pass-word@hooks.example/services/T000/B000/abcdef?key=geheim77"


class Login(Options):
    """Options within options."""

    passwords: list[Secret]


class TinyOptions(Options):
    """Secrets wherever a plugin may have them."""

    token: Secret = Secret(TOKEN)
    hook: SecretUrl = SecretUrl(HOOK)
    headers: dict[str, Secret] = {"x-key": Secret("header-secret")}
    login: Login = Login(passwords=[Secret("swordfish")])
    host: str = "example.com"


class Tiny(Channel[TinyOptions]):
    """Does in `send` what the test says."""

    name = "tiny"
    Options = TinyOptions
    doing: Send

    async def send(self, notification: Notification, ctx: Context) -> None:
        note: None = await type(self).doing(notification, ctx)
        return note


def lane(channel: type[Channel[Any]], timeout: timedelta = timedelta(seconds=30)) -> Lane:
    """The lane of a config with this channel."""
    registry = Registry(channels={"tiny": Registered("tiny", channel, "tiny.py", "")}, filters={})
    return lane_of(
        NotificationSettings("ops", "tiny", TinyOptions(), timeout=timeout, where="notifyd.toml:7"), registry
    )


def sending(doing: Send) -> type[Tiny]:
    """A channel that does this."""
    return type("Sending", (Tiny,), {"doing": staticmethod(doing)})


async def attempt(doing: Send, timeout: timedelta = timedelta(seconds=30)) -> Outcome:
    tried = lane(sending(doing), timeout)
    try:
        return await tried.attempt(a_notification(), 1, NOW)
    finally:
        await tried.close()


async def raised(error: BaseException) -> Outcome:
    """What comes of an attempt in which the channel raises this."""

    async def send(notification: Notification, ctx: Context) -> None:
        raise error

    return await attempt(send)


@pytest.fixture
async def sink() -> AsyncIterator[HttpSink]:
    async with HttpSink() as sink:
        yield sink


# -- what a channel may say ----------------------------------------------------------------------


async def test_to_return_is_to_have_sent() -> None:
    async def send(notification: Notification, ctx: Context) -> None:
        """Nothing to do."""

    assert await attempt(send) == Outcome(Result.SENT)


async def test_the_status_of_the_last_answer_is_remembered(sink: HttpSink) -> None:
    sink.script = [500, 202]

    async def send(notification: Notification, ctx: Context) -> None:
        for _ in range(2):
            await ctx.http.request("POST", sink.url)

    assert await attempt(send) == Outcome(Result.SENT, status_code=202)


async def test_to_retry_is_to_say_why_and_when() -> None:
    outcome = await raised(Retry("HTTP 503", after=30, status_code=503))
    assert outcome == Outcome(Result.RETRY, "HTTP 503", status_code=503, after=30)


async def test_to_reject_is_to_say_why() -> None:
    outcome = await raised(Reject("HTTP 410: gone", status_code=410))
    assert outcome == Outcome(Result.REJECTED, "HTTP 410: gone", status_code=410)


async def test_a_channel_is_told_all_about_its_attempt() -> None:
    seen = []

    async def send(notification: Notification, ctx: Context) -> None:
        seen.append((ctx.delivery_id, ctx.attempt, ctx.now, ctx.timeout, ctx.render().title))

    notification = a_notification()
    tried = lane(sending(send), timedelta(seconds=7))
    await tried.attempt(notification, 3, NOW)
    await tried.close()
    assert seen == [(notification.id, 3, NOW, 7.0, notification.event.title)]


# -- what else it may do -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [KeyError("token"), SystemExit(3), TimeoutError("mine"), ExceptionGroup("g", [Retry("x")])]
)
async def test_anything_else_is_a_bug_and_its_traceback_is_logged(error: BaseException, said: Said) -> None:
    outcome = await raised(error)
    assert outcome.result is Result.BUG
    assert outcome.reason.startswith(f"bug in the channel: {type(error).__name__}: ")
    (line,) = said("the channel has a bug", config="ops")
    assert "raise error" in line["traceback"]


async def test_also_where_its_error_has_no_text() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    assert (await raised(Unspeakable())).reason == "bug in the channel: Unspeakable"
    assert (await raised(Retry(Unspeakable()))).reason == "Unspeakable"  # type: ignore[arg-type]


async def test_what_a_plugin_puts_into_its_errors_is_made_fit_to_keep() -> None:
    reason: Any = ConnectionResetError("reset by peer")
    for after in (float("nan"), float("inf"), None):
        outcome = await raised(Retry(reason, after=after, status_code="503"))  # type: ignore[arg-type]
        assert outcome == Outcome(Result.RETRY, "reset by peer")
    assert await raised(Reject(None)) == Outcome(Result.REJECTED, "None")  # type: ignore[arg-type]


@pytest.mark.parametrize("after", ["soon", timedelta(seconds=5)])
async def test_a_wait_that_is_no_number_is_a_bug(after: Any) -> None:
    async def send(notification: Notification, ctx: Context) -> None:
        raise Retry("later", after=after)

    outcome = await attempt(send)
    assert outcome.result is Result.BUG
    assert (
        outcome.reason == f"bug in the channel: TypeError: Retry(after={after!r}): it is a number of seconds, or None"
    )


async def test_a_reason_is_not_a_book() -> None:
    assert len((await raised(Retry("x" * 1_000_000))).reason) == 1000


async def test_a_channel_that_hangs_is_cut_off() -> None:
    cancelled = asyncio.Event()

    async def send(notification: Notification, ctx: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    outcome = await attempt(send, timeout=timedelta(seconds=0.1))
    assert outcome == Outcome(Result.RETRY, "no answer within 0.1 s")
    assert cancelled.is_set()


async def test_a_channel_that_says_itself_what_was_slow_is_heard() -> None:
    async def send(notification: Notification, ctx: Context) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Retry("the handshake took too long") from None

    outcome = await attempt(send, timeout=timedelta(seconds=0.1))
    assert outcome == Outcome(Result.RETRY, "the handshake took too long")


async def test_a_cancellation_from_outside_gets_through() -> None:
    began = asyncio.Event()

    async def send(notification: Notification, ctx: Context) -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(attempt(send))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_of_the_channel_s_own_is_a_bug() -> None:
    async def send(notification: Notification, ctx: Context) -> None:
        mine = asyncio.ensure_future(asyncio.Event().wait())
        mine.cancel()
        await mine

    assert (await attempt(send)).result is Result.BUG


async def test_a_send_that_is_no_coroutine_is_a_bug() -> None:
    class Plain(Tiny):
        def send(self, notification: Notification, ctx: Context) -> None:  # type: ignore[override]
            """Somebody forgot `async`."""

    tried = lane(Plain)
    assert (await tried.attempt(a_notification(), 1, NOW)).result is Result.BUG
    await tried.close()


# -- secrets -------------------------------------------------------------------------------------

SECRETS = [TOKEN, HOOK, "header-secret", "swordfish", "/services/T000/B000/abcdef", "key=geheim77", "pass-word"]


@pytest.mark.parametrize("secret", SECRETS)
async def test_no_secret_leaves_in_any_text(secret: str, said: Said) -> None:
    text = f"could not call {secret} with {secret}"
    for error in (Retry(text), Reject(text), ValueError(text), Retry(ConnectionError(text))):  # type: ignore[arg-type]
        outcome = await raised(error)
        assert secret not in outcome.reason
        assert outcome.reason.endswith("could not call <secret> with <secret>")
    (line,) = said("the channel has a bug")
    assert secret not in str(line)


async def test_nor_in_the_note_of_what_was_sent() -> None:
    async def send(notification: Notification, ctx: Context) -> Any:
        return f"sent with {TOKEN}"

    assert await attempt(send) == Outcome(Result.SENT, "sent with <secret>")


async def test_a_secret_is_masked_before_a_text_is_cut() -> None:
    outcome = await raised(Retry("x" * 990 + TOKEN))
    assert "xoxb" not in outcome.reason


def test_secrets_are_found_wherever_they_are_the_longest_first() -> None:
    found = secrets_of(TinyOptions())
    assert set(SECRETS) <= set(found)
    assert "example.com" not in found
    assert list(found) == sorted(found, key=len, reverse=True)


def test_a_short_path_is_no_secret_by_itself() -> None:
    """Or every word "hook" of a text would be masked."""
    url = "https://hooks.example/hook"
    found = secrets_of(TinyOptions(hook=SecretUrl(url), headers={}, login=Login(passwords=[])))
    assert {url, TOKEN} <= set(found)
    assert masked(f"no hook at /hook, or {url}", found) == "no hook at /hook, or <secret>"


def test_a_secret_that_was_not_resolved_is_none() -> None:
    assert secrets_of(Login(passwords=[Secret(None)])) == ()


# -- opening and closing -------------------------------------------------------------------------


@dataclass
class Steps:
    """A channel whose open and close do what the test says."""

    doing: Callable[[], Awaitable[None]]

    def channel(self) -> type[Tiny]:
        doing = self.doing

        class Opening(Tiny):
            async def open(self) -> None:
                await doing()

            async def close(self) -> None:
                await doing()

        return Opening


@pytest.mark.parametrize("error", [OSError(f"refused {TOKEN}"), SystemExit(1), asyncio.CancelledError()])
async def test_a_channel_that_does_not_open_or_close_stops_nothing(error: BaseException, said: Said) -> None:
    async def fail() -> None:
        raise error

    tried = lane(Steps(fail).channel())
    await tried.open()
    await tried.close()
    (opening,), (closing,) = said("the channel did not open"), said("the channel did not close")
    assert opening["why"] == closing["why"]
    assert re.fullmatch(r"\w+(: .+)? \(test_lane.py:\d+\)", opening["why"])
    assert "raise error" in opening["traceback"]
    assert opening["why"].startswith(type(error).__name__)
    assert TOKEN not in str(opening)


async def test_what_a_channel_says_on_purpose_when_it_opens_has_no_traceback(said: Said) -> None:
    async def fail() -> None:
        raise Retry("not yet")

    await lane(Steps(fail).channel()).open()
    (line,) = said("the channel did not open")
    assert (line["why"], "traceback" in line) == ("not yet", False)


async def test_nor_does_one_that_hangs(said: Said) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    tried = lane(Steps(hang).channel(), timeout=timedelta(seconds=0.05))
    await tried.open()
    await tried.close()
    assert said("the channel did not open")[0]["why"] == "not done within 0.05 s"


async def test_an_opening_is_cancelled_from_outside() -> None:
    began = asyncio.Event()

    async def hang() -> None:
        began.set()
        await asyncio.Event().wait()

    tried = lane(Steps(hang).channel())
    task = asyncio.create_task(tried.open())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await tried.http.aclose()


@pytest.mark.parametrize("kind", [ValueError, BaseException])
def test_a_channel_that_cannot_be_made_is_one_line_without_a_secret(kind: type[BaseException]) -> None:
    class Broken(Tiny):
        def __init__(self, options: TinyOptions) -> None:
            raise kind(f"bad token {options.token.reveal()}")

    with pytest.raises(NotifydError) as refusal:
        lane(Broken)
    expected = f"notifyd.toml:7: config ops: the channel tiny has a bug: {kind.__name__}: bad token <secret>"
    assert str(refusal.value) == expected


async def test_a_lane_takes_no_more_than_its_endpoint_has_connections() -> None:
    tried = lane(sending(Tiny.send), timeout=timedelta(seconds=7))  # type: ignore[arg-type]
    tried.in_flight = 3
    assert tried.capacity.free == 8 - 3
    assert tried.capacity.lease > timedelta(seconds=7 + 1)
    await tried.close()


# -- its check, and what it is handed ------------------------------------------------------------


async def checked(check: Callable[[CheckContext], Awaitable[Any]], timeout: float = 5) -> Checked | None:
    """What a channel's check comes to."""

    class Checking(Tiny):
        async def check(self, ctx: CheckContext) -> str | None:
            seen: str | None = await check(ctx)
            return seen

    tried = lane(Checking)
    try:
        return await tried.check(NOW, timeout)
    finally:
        await tried.close()


async def test_a_channel_without_a_check_has_nothing_to_say() -> None:
    tried = lane(Tiny)
    assert await tried.check(NOW, 5) is None
    await tried.close()


async def test_a_check_uses_the_network_and_says_what_it_saw(sink: HttpSink) -> None:
    async def check(ctx: CheckContext) -> str:
        answer = await ctx.http.request("GET", sink.url, timeout=ctx.timeout)
        (await ctx.connect("127.0.0.1", sink.port)).close()
        ctx.log.info("looked", token=TOKEN)
        return f"HTTP {answer.status} at {ctx.now:%H:%M}, not {TOKEN}"

    assert await checked(check) == (True, "HTTP 200 at 21:00, not <secret>")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Reject(f"the login {TOKEN} is refused"), "the login <secret> is refused"),
        (Retry("connection refused"), "connection refused"),
        (KeyError("oops"), "KeyError: 'oops' (test_lane.py:LINE)"),
        (SystemExit(2), "SystemExit: 2 (test_lane.py:LINE)"),
    ],
)
async def test_a_check_that_raises_says_what_is_wrong(error: BaseException, text: str) -> None:
    async def check(ctx: CheckContext) -> None:
        raise error

    line = str(check.__code__.co_firstlineno + 1)
    assert await checked(check) == (False, text.replace("LINE", line))


async def test_a_check_that_hangs_has_an_end() -> None:
    async def check(ctx: CheckContext) -> None:
        await asyncio.Event().wait()

    assert await checked(check, timeout=0.05) == (False, "not done within 0.05 s")


async def test_a_context_has_what_the_api_promises_and_nothing_else() -> None:
    seen: list[set[str]] = []

    def public(thing: object) -> set[str]:
        return {name for name in dir(thing) if not name.startswith("_")}

    async def send(notification: Notification, ctx: Context) -> None:
        seen.extend([public(ctx), public(ctx.http), public(ctx.log)])

    async def check(ctx: CheckContext) -> None:
        seen.append(public(ctx))

    await attempt(send)
    await checked(check)
    assert seen == [public(Context), public(Http), public(Logger), public(CheckContext)]


async def test_a_channel_cannot_log_a_secret(said: Said) -> None:
    async def send(notification: Notification, ctx: Context) -> None:
        ctx.log.warning(f"using {TOKEN}", token=TOKEN, error=ValueError(TOKEN), event_id=7, event="x")

    assert (await attempt(send)).result is Result.BUG, "event is given twice, which Python itself refuses"

    async def log(notification: Notification, ctx: Context) -> None:
        ctx.log.warning(f"using {TOKEN}", token=TOKEN, error=ValueError(TOKEN), number=7, exc_info=True)  # noqa: LOG014

    assert (await attempt(log)).result is Result.SENT
    (line,) = said("using <secret>")
    assert (line["token"], line["error"], line["number"]) == ("<secret>", "<secret>", 7)
    assert line["config"] == "ops"
    assert line["delivery"] == a_notification().id
    assert "exc_info" not in line
