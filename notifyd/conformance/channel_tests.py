"""What every channel must do, one check a method. Inherit `ChannelTests`, and say how yours is set up."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

import pytest
from pydantic import TypeAdapter, ValidationError

from notifyd.api import Answer, Channel, Notification, Reject, Retry
from notifyd.api.masking import secrets_of
from notifyd.conformance import samples
from notifyd.conformance.http_sink import Reply
from notifyd.conformance.server import SLOWNESS, HttpServer, Mood, Server
from notifyd.conformance.stage import Ended, Stage, options_of, staged
from notifyd.conformance.watch import AN_ACCIDENT, Belongings, Pulse, listening, tasks_left
from notifyd.outbound import Guard
from notifyd.patience import run
from notifyd.plugin_host import fault_of
from notifyd.render.samples import SAMPLES

T = TypeVar("T")

AT_ONCE = 8
"""How many sends of one config the daemon has under way."""

SHORT = 0.5
"""Seconds of time for a send that is going to need more."""

_AGAIN = (408, 425, 429, 500, 502, 503, 504, 599)
_FINAL = (301, 302, 307, 308, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 451)


class ChannelTests:
    """The checks of a channel. A subclass named `Test…` gives `channel` and `options`, and is run by pytest.

    The rest may be overridden where your receiver is special. A check that has no meaning for your channel is
    skipped, and says why.
    """

    channel: ClassVar[type[Channel[Any]]]

    taken: ClassVar[Reply] = (200, {"Content-Type": "application/json"}, b"ok")
    """What your receiver answers over HTTP when it has taken a message: a status, or with headers and body."""

    taken_statuses: ClassVar[Collection[int]] = (200, 201, 202, 204)
    """The statuses that mean so."""

    final_statuses: ClassVar[Collection[int]] = _FINAL
    """The statuses after which it must not be tried again; empty where your receiver does not tell."""

    tells_final: ClassVar[bool] = True
    """False: whatever it refuses may be tried again, because it never says which refusals are final."""

    reads_retry_after: ClassVar[bool] = True
    """False: it never learns when the receiver wants to hear from it again."""

    bad_options: ClassVar[list[dict[str, Any]]] = []
    """More options that must be refused, beside those that the kit makes up."""

    def options(self, server: Any) -> Mapping[str, Any]:
        """Options that send to this server: `{"url": server.url}`. Give every secret, so that leaks are seen."""
        raise NotImplementedError("say with which options the channel sends to `server`")

    def server(self) -> Server:
        """The place to send to: HTTP, or one of your own."""
        return HttpServer(self.taken)

    @classmethod
    def conformance_subject(cls) -> str:
        """What the checklist calls it."""
        return f"the channel {getattr(cls.channel, 'name', cls.channel.__name__)}"

    # -- how it is declared ----------------------------------------------------------------------

    def test_it_is_a_channel(self) -> None:
        """notifyd accepts the class: name, Options, signatures, version"""
        if fault := fault_of(self.channel, "channel"):
            pytest.fail(f"notifyd refuses it: {fault}", pytrace=False)

    def test_it_is_described(self) -> None:
        """the class has a docstring, and every option a description"""
        _require(bool((self.channel.__doc__ or "").strip()), "it has no docstring, which `notifyd plugins` shows")
        fields = self.channel.Options.model_fields.items()
        without = [name for name, field in fields if not field.description]
        _require(not without, f"no Field(description=…): {', '.join(without)}")
        TypeAdapter(self.channel.Options).json_schema()

    def test_good_options_are_accepted(self) -> None:
        """the options that the test gives are accepted"""
        with self.server() as server:
            self._options(server)

    def test_bad_options_are_refused(self) -> None:
        """bad settings are refused as such, and without quoting a secret"""
        with self.server() as server:
            good = dict(self.options(server))
            secrets = secrets_of(self._options(server))
        kind = self.channel.Options
        required = [name for name, field in kind.model_fields.items() if field.is_required()]
        bad = [{**good, "no_such_option": 1}, *({k: v for k, v in good.items() if k != name} for name in required)]
        for options in [*bad, *self.bad_options]:
            _require(_refuses(kind, options, secrets), f"these options were accepted: {_shown(options, good)}")
        for name in kind.model_fields:
            for odd in ({"odd": ["value"]}, [[None]], "\x00\n", "", -1, 10**30):
                _refuses(kind, {**good, name: odd}, secrets)

    def test_it_opens_and_closes(self) -> None:
        """it opens and closes without sending, and a second close does no harm"""

        async def close_again(stage: Stage) -> None:
            await stage.channel.close()

        self._stage(Mood.TAKES, close_again)

    # -- what it sends ---------------------------------------------------------------------------

    @pytest.mark.parametrize("kind", list(SAMPLES))
    def test_it_sends(self, kind: str) -> None:
        """it sends every kind of event, a digest and a test"""
        self._takes(SAMPLES[kind])

    @pytest.mark.parametrize("what", list(samples.HOSTILE))
    def test_hostile_text(self, what: str) -> None:
        """hostile text arrives as text, in any script"""
        self._takes(samples.hostile(samples.HOSTILE[what]))

    def test_huge_text(self) -> None:
        """a digest with a megabyte of text is sent"""
        self._takes(samples.huge())

    def test_the_same_notification_twice(self) -> None:
        """a repeat is sent like the first, with the same id wherever the first had it"""
        notification = samples.a_notification(id="repeatable0id")

        async def twice(stage: Stage) -> list[Ended]:
            return [await stage.send(notification, attempt) for attempt in (1, 2)]

        with self.server() as server:
            for ended in self._run(server, Mood.TAKES, twice):
                _require(ended.sent, f"{ended}")
            first, second = self._arrived(server, 2)
            _require(
                (notification.id in first) == (notification.id in second),
                "the delivery's id was in one attempt and not in the other",
            )

    def test_many_at_once(self) -> None:
        """eight at once all arrive, each with its own words"""
        told = [samples.a_notification(samples.an_event(title=f"Marker{n}q"), id=f"id{n}") for n in range(AT_ONCE)]

        async def together(stage: Stage) -> list[Ended]:
            return await asyncio.gather(*(stage.send(each) for each in told))

        with self.server() as server:
            for ended in self._run(server, Mood.TAKES, together):
                _require(ended.sent, f"{ended}")
            texts = self._arrived(server, AT_ONCE)
        found = [sum(f"Marker{n}q" in text for text in texts) for n in range(AT_ONCE)]
        _require(not any(found) or found == [1] * AT_ONCE, f"the words of one went out with another: {found}")

    # -- how it ends -----------------------------------------------------------------------------

    def test_statuses_that_mean_taken(self) -> None:
        """2xx is sent"""
        for status, ended in self._statuses(self.taken_statuses):
            _require(ended.sent, f"HTTP {status}: {ended}")

    def test_statuses_that_mean_later(self) -> None:
        """408, 425, 429 and 5xx are tried again"""
        for status, ended in self._statuses(_AGAIN):
            _require(isinstance(ended.error, Retry), f"HTTP {status} may work later, so raise Retry; {ended}")

    def test_statuses_that_mean_never(self) -> None:
        """redirects and 4xx are final, and none of them is taken for sent"""
        for status, ended in self._statuses([status for status in _FINAL if status not in self.taken_statuses]):
            _require(isinstance(ended.error, Retry | Reject), f"HTTP {status} is no success; {ended}")
            final = self.tells_final and status in self.final_statuses
            _require(
                not final or isinstance(ended.error, Reject), f"HTTP {status} never works, so raise Reject; {ended}"
            )

    def test_retry_after(self) -> None:
        """Retry-After is handed on"""
        self._only_over_http()
        if not self.reads_retry_after:
            pytest.skip("it never learns of it (reads_retry_after = False)")
        with self._http_server() as server:
            for status in (429, 503):
                server.answer(status, {"Retry-After": "17"}, b"slow down")
                ended = self._send(server)
                _require(isinstance(ended.error, Retry), f"HTTP {status}: {ended}")
                after = getattr(ended.error, "after", None)
                _require(after == 17, f"HTTP {status} with Retry-After: 17 became Retry(after={after})")

    def test_not_now(self) -> None:
        """a receiver that cannot take it now gets it again"""
        ended = self._stage(Mood.NOT_NOW, _once)
        _require(isinstance(ended.error, Retry), f"{ended}")

    def test_never(self) -> None:
        """what a receiver refuses for good is final"""
        ended = self._stage(Mood.NEVER, _once)
        _require(isinstance(ended.error, Reject if self.tells_final else Retry | Reject), f"{ended}")

    @pytest.mark.parametrize("mood", [Mood.BREAKS_OFF, Mood.BREAKS_OFF_LATE, Mood.NONSENSE])
    def test_faults(self, mood: Mood) -> None:
        """a broken connection or a senseless answer is tried again"""
        ended = self._stage(mood, _once)
        taken = ended.sent and mood is Mood.BREAKS_OFF_LATE  # as far as it had come, the answer was good
        _require(taken or isinstance(ended.error, Retry), f"the server {mood.value}: raise Retry; {ended}")

    def test_nobody_there(self) -> None:
        """a refused connection is tried again"""
        with self.server() as server:
            options = self.options(server)
        ended = run(self._on(options, _once))
        _require(isinstance(ended.error, Retry), f"nobody listens there: raise Retry; {ended}")

    def test_its_time_is_up(self) -> None:
        """a receiver that never answers costs no more than the timeout"""
        ended = self._stage(Mood.HANGS, _once, timeout=SHORT)
        _require(isinstance(ended.error, Retry | TimeoutError), f"the server never answered: {ended}")
        limit = SHORT + 2
        _require(ended.seconds < limit, f"with a timeout of {SHORT:g} s it took {ended.seconds:.1f} s")

    def test_it_can_be_cancelled(self) -> None:
        """a cancellation gets through, at once"""

        async def cancel(stage: Stage) -> tuple[float, str]:
            note = samples.a_notification()
            task = asyncio.ensure_future(stage.channel.send(note, stage.context(note)))
            await asyncio.sleep(0.2)
            began = time.monotonic()
            task.cancel()
            await asyncio.wait([task], timeout=5)
            if not task.done():
                return 5.0, "it went on"
            return time.monotonic() - began, "" if task.cancelled() else f"{task.exception() or task.result()}"

        seconds, instead = self._stage(Mood.HANGS, cancel)
        _require(not instead, f"it swallowed the cancellation: {instead}")
        _require(seconds < 1, f"it took {seconds:.1f} s to let go")

    def test_errors_beneath_get_through(self) -> None:
        """what ctx.http raises is not taken for sent, and Retry and Reject stay what they are"""
        self._only_over_http()
        for error in (Retry("no connection", 7), Reject("forbidden by the guard"), RuntimeError("a surprise")):
            raising = _Raising(error)
            with self.server() as server:
                ended = self._run(server, Mood.TAKES, lambda stage, http=raising: stage.send(_PLAIN, http=http))  # type: ignore[misc]
            if not raising.asked:
                pytest.skip("it does not use ctx.http")
            _require(not ended.sent, f"ctx.http raised {error!r}, and it returned as if it were sent")
            if isinstance(error, Retry | Reject):
                _require(type(ended.error) is type(error), f"ctx.http raised {error!r}, and {ended}")

    def test_its_check(self) -> None:
        """its check sends nothing, and says what is wrong where nobody is there"""
        if self.channel.check is Channel.check:
            pytest.skip("it has none")

        async def check(stage: Stage) -> object:
            return await stage.channel.check(stage.context(_PLAIN))

        with self.server() as server:
            seen = self._run(server, Mood.TAKES, check)
            options = self.options(server)
            _require(not (sent := _sent(server)), f"a check sends nothing; it sent {', '.join(sent)}")
        _require(seen is None or isinstance(seen, str), f"it returned {seen!r}, and not a text or None")
        try:
            seen = run(self._on(options, check))
        except (Retry, Reject):
            return
        except Exception as error:
            pytest.fail(f"nobody is there: raise Retry or Reject; it raised {type(error).__name__}", pytrace=False)
        pytest.fail(f"nobody is there: raise Retry or Reject; it returned {seen!r}", pytrace=False)

    # -- what it must not do ---------------------------------------------------------------------

    def test_it_does_not_block_the_loop(self) -> None:
        """it does not block the event loop, also where the receiver is slow"""
        stood = ""
        for _ in range(2):  # a busy machine may cause one standstill, but hardly two
            pulse = self._pulse()
            if pulse.longest < AN_ACCIDENT:
                return
            stood = f"for {pulse.longest:.1f} s" + (f", at {pulse.place}" if pulse.place else "")
        pytest.fail(f"it blocked the event loop {stood}: use ctx.http, or asyncio.to_thread", pytrace=False)

    def _pulse(self) -> Pulse:
        async def watched(stage: Stage) -> Pulse:
            async with Pulse() as pulse:
                await asyncio.gather(*(stage.send(samples.a_notification()) for _ in range(3)))
            return pulse

        return self._stage(Mood.SLOW, watched, timeout=SLOWNESS * 10)

    def test_secrets_stay_secret(self) -> None:
        """no secret in what it raises, returns, logs or prints, whatever goes wrong"""
        found = []
        with self.server() as server:
            secrets = secrets_of(self._options(server))
            if not secrets:
                pytest.skip("it has no secret among its options")
            for mood in Mood:
                with listening() as ears:
                    stage, ended = self._run(server, mood, _once_and_stage, timeout=SHORT)
                said = {
                    "what it raised or returned": ended.words,
                    "ctx.log": "\n".join(stage.log.lines),
                    "logging": ears.logged,
                    "what it printed": ears.printed,
                    "its repr": f"{stage.channel!r} {stage.channel.options!r} {stage.channel}",
                }
                found += [
                    f"{where}, when the server {mood.value}"
                    for where, text in said.items()
                    if any(secret in text for secret in secrets)
                ]
        _require(not found, "a secret is in " + "; in ".join(found))

    def test_it_prints_nothing(self) -> None:
        """it prints nothing: what it has to say goes to ctx.log"""
        with listening() as ears:
            self._stage(Mood.TAKES, _once)
        _require(not ears.printed.strip(), f"it printed {ears.printed.strip()[:80]!r}")

    def test_it_leaves_nothing_behind(self) -> None:
        """it leaves no tasks, threads or descriptors behind"""

        async def busy(stage: Stage) -> None:
            await asyncio.gather(*(stage.send(samples.a_notification()) for _ in range(3)))

        with self.server() as server:
            self._cycle(server, busy)  # what is made once, and kept, is made here
            before = Belongings.now()
            left = [tasks for _ in range(3) if (tasks := self._cycle(server, busy))]
            if more := before.left_since():
                left.append(more)
        _require(not left, f"after close there were left: {'; '.join(left)}")

    def _cycle(self, server: Server, work: Callable[[Stage], Awaitable[None]]) -> str | None:
        async def cycle() -> str | None:
            before = asyncio.all_tasks()
            await self._on(self.options(server), work)
            return await tasks_left(before)

        return run(cycle())

    def test_it_stays_behind_the_guard(self) -> None:
        """it makes no connection past the guard"""
        if not self.channel.api_allowed:
            pytest.skip("only a settings file may use it (api_allowed = False)")
        with self.server() as server:
            ended = self._run(server, Mood.TAKES, _once, guard=Guard(()))
            reached = server.received
        _require(not reached, "it called an address that the guard forbids: use ctx.http or ctx.connect")
        _require(isinstance(ended.error, Reject), f"the guard forbids this address: {ended}")

    # -- how this is done ------------------------------------------------------------------------

    def _options(self, server: Server) -> Any:
        try:
            return options_of(self.channel.Options, dict(self.options(server)))
        except ValidationError as error:
            pytest.fail(f"its own options are refused: {error}", pytrace=False)

    def _stage(
        self, mood: Mood, work: Callable[[Stage], Awaitable[T]], *, timeout: float = 5.0, guard: Guard | None = None
    ) -> T:
        with self.server() as server:
            return self._run(server, mood, work, timeout=timeout, guard=guard)

    def _run(
        self,
        server: Server,
        mood: Mood,
        work: Callable[[Stage], Awaitable[T]],
        *,
        timeout: float = 5.0,
        guard: Guard | None = None,
    ) -> T:
        server.be(mood)
        return run(self._on(self.options(server), work, timeout=timeout, guard=guard))

    async def _on(
        self,
        options: Mapping[str, Any],
        work: Callable[[Stage], Awaitable[T]],
        *,
        timeout: float = 5.0,
        guard: Guard | None = None,
    ) -> T:
        async with staged(self.channel, options, timeout=timeout, guard=guard) as stage:
            return await work(stage)

    def _takes(self, notification: Notification) -> None:
        with self.server() as server:
            ended = self._run(server, Mood.TAKES, lambda stage: stage.send(notification), timeout=20)
            _require(ended.sent, f"{ended}")
            self._arrived(server, 1)
            forged = [each for each in getattr(server, "requests", []) if "x-injected" in each.headers]
            _require(not forged, "a line break in the text became a header")

    def _arrived(self, server: Server, count: int) -> list[str]:
        texts = server.received
        _require(len(texts) == count, f"it says that {count} were sent, and {len(texts)} arrived")
        return texts

    def _only_over_http(self) -> None:
        if not isinstance(self.server(), HttpServer):
            pytest.skip("it does not speak HTTP")

    def _http_server(self) -> HttpServer:
        server = self.server()
        assert isinstance(server, HttpServer)  # noqa: S101 - asked for before
        return server

    def _statuses(self, statuses: Collection[int]) -> list[tuple[int, Ended]]:
        self._only_over_http()
        body = self.taken[2] if isinstance(self.taken, tuple) else b""
        headers = self.taken[1] if isinstance(self.taken, tuple) else {}
        with self._http_server() as server:
            ended = []
            for status in statuses:
                taken = status in self.taken_statuses
                server.answer(status, headers if taken else {}, body if taken and status != 204 else b"")
                ended.append((status, self._send(server)))
        return ended

    def _send(self, server: Server) -> Ended:
        return run(self._on(self.options(server), _once))


_PLAIN = samples.a_notification()


async def _once(stage: Stage) -> Ended:
    return await stage.send(samples.a_notification())


async def _once_and_stage(stage: Stage) -> tuple[Stage, Ended]:
    return stage, await stage.send(samples.a_notification())


class _Raising:
    """An `Http` that raises."""

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, False

    async def request(self, method: str, url: str, **_: Any) -> Answer:
        self.asked = True
        raise self.error


def _sent(server: Server) -> list[str]:
    """What a check may not send, by its first line: all that is not HTTP, and of that all that changes something."""
    if isinstance(server, HttpServer):
        return [f"{each.method} {each.path}" for each in server.requests if each.method not in ("GET", "HEAD")]
    return [(text.splitlines() or [""])[0] for text in server.received]


def _require(true: bool, otherwise: str) -> None:
    if not true:
        pytest.fail(otherwise, pytrace=False)


def _refuses(kind: Any, options: Mapping[str, Any], secrets: Collection[str]) -> bool:
    """Whether they are refused, and in the right way."""
    try:
        options_of(kind, options)
    except ValidationError as error:
        told = [detail["msg"] for detail in error.errors(include_input=False, include_url=False)]
        leaked = [text for text in told if any(secret in text for secret in secrets)]
        _require(not leaked, "what it says of bad options quotes a secret")
        return True
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
        pytest.fail(
            f"its Options raised {type(error).__name__} ({place}); a validator raises ValueError", pytrace=False
        )
    return False


def _shown(options: Mapping[str, Any], good: Mapping[str, Any]) -> str:
    """What is different about them."""
    missing = [f"without {name}" for name in good if name not in options]
    with suppress(TypeError):
        missing += [f"{name} = {value!r}" for name, value in options.items() if good.get(name) != value]
    return ", ".join(missing) or "the same as the good ones"
