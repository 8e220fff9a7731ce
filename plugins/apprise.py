"""Sends each notification through Apprise (https://github.com/caronc/apprise), which knows a hundred services and more.

Apprise only says whether it worked; why it did not is in its log. So its log lines are kept apart for each
attempt, and the telling ones become the attempt's reason.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from notifyd.api import Channel, Context, Event, EventType, Notification, Options, Retry, Secret, Severity, hookimpl

THREADS = 8
"""Attempts of one config at once. A thread that hangs keeps its place, so there are never more."""

KINDS = {
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.ERROR: "failure",
    Severity.CRITICAL: "failure",
}

_LONGEST_REASON = 500
_MOST_LINES = 3
_DETAILS = ("Socket Exception: ", "I/O Exception: ", "Response Details:")  # of a warning, as Apprise's plugins log them
_STATUS = re.compile(r"\berror=(\d{3})\b")
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")
_HOST_NAME = re.compile(r"localhost|\d+(\.\d+){3}|([a-z0-9-]+\.)+[a-z]{2,}")
_SHORTEST_SECRET = 4  # a shorter text is in too many innocent words, and no secret


def _apprise_url(url: Secret) -> Secret:
    if url.resolved:
        with _CAPTURE.lines() as lines:
            service = _library().Apprise.instantiate(url.reveal())
        if service is None:
            raise ValueError(f"apprise cannot use this URL: {_reason(lines, url.reveal())}")
    return url


class AppriseOptions(Options):
    """Where to send: one URL, in which Apprise puts the service, the place and the password."""

    url: Annotated[Secret, AfterValidator(_apprise_url)] = Field(
        description='An Apprise URL, such as "tgram://bottoken/ChatID"; the forms are listed on its site.'
    )


class AppriseChannel(Channel[AppriseOptions]):
    """Sends a text to one of the services that Apprise knows: Telegram, Teams, Matrix, ntfy, Pushover …

    Whatever fails is tried again: Apprise does not tell what is final. It needs `notifyd[apprise]`.
    """

    name = "apprise"
    Options = AppriseOptions
    api_allowed = False  # it makes its own connections, past the guard, and some of its URLs are files

    def __init__(self, options: AppriseOptions) -> None:
        super().__init__(options)
        self._threads = asyncio.Semaphore(THREADS)

    async def send(self, notification: Notification, ctx: Context) -> None:
        words = ctx.render()
        message = {"title": words.title, "body": words.text, "notify_type": _kind(notification.event)}
        try:
            async with asyncio.timeout(ctx.timeout):
                failure = await self._on_a_thread(lambda: _deliver(self.options.url.reveal(), message))
        except TimeoutError:
            raise Retry(f"apprise did not come back within {ctx.timeout:g} s") from None
        if failure is not None:
            status = _STATUS.search(failure)
            raise Retry(failure, status_code=int(status[1]) if status else None)

    async def _on_a_thread(self, job: Callable[[], str | None]) -> str | None:
        """What the job returns. It cannot be stopped: when nobody waits any more, it ends in its own time.

        A daemon thread, because the daemon does not wait for it at its end.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str | None] = loop.create_future()

        def settle(result: str | None) -> None:
            self._threads.release()
            if not done.done():
                done.set_result(result)

        def run() -> None:
            result = job()
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, result)

        await self._threads.acquire()
        threading.Thread(target=run, name="apprise", daemon=True).start()
        return await done


def _kind(event: Event) -> str:
    return "success" if event.event_type is EventType.RECOVERED else KINDS[event.severity]


def _deliver(url: str, message: dict[str, Any]) -> str | None:
    """None if it was taken, else the best reason there is. Each attempt has a service object of its own."""
    with _CAPTURE.lines() as lines:
        try:
            service = _library().Apprise.instantiate(url)
            taken = service is not None and service.notify(body_format="text", **message)
        except Exception as error:  # whatever a hundred plugins may raise
            return _scrubbed(f"apprise failed: {type(error).__name__}: {error}", url)
    return None if taken else _reason(lines, url)


# Apprise, and what it logs


def _library() -> ModuleType:
    """Apprise, loaded when it is needed: it takes a while, and 40 MB."""
    try:
        import apprise
    except ImportError:
        raise ValueError("needs Apprise, which is not installed; pip install 'notifyd[apprise]'") from None
    logger = logging.getLogger("apprise")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False  # its debug lines hold every message, and some of them tokens
    logger.addHandler(_CAPTURE)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it logs the path of each request
    return apprise


class _Capture(logging.Handler):
    """Keeps log lines apart by the thread that wrote them, for whoever listens on that thread."""

    def __init__(self) -> None:
        super().__init__()
        self._heard: dict[int, list[logging.LogRecord]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if (lines := self._heard.get(threading.get_ident())) is not None:
            lines.append(record)

    @contextmanager
    def lines(self) -> Iterator[list[logging.LogRecord]]:
        """Listen to this thread."""
        lines = self._heard[threading.get_ident()] = []
        try:
            yield lines
        finally:
            del self._heard[threading.get_ident()]


_CAPTURE = _Capture()


def _reason(lines: list[logging.LogRecord], url: str) -> str:
    """The warnings, each with the detail that follows it at a lower level, without anything of the URL's."""
    texts = [
        line.getMessage() for line in lines if line.levelno >= logging.WARNING or line.getMessage().startswith(_DETAILS)
    ]
    told = "; ".join(dict.fromkeys(texts[: 2 * _MOST_LINES]))
    return _scrubbed(told or "it gave no reason", url)


def _scrubbed(text: str, url: str) -> str:
    text = _UNPRINTABLE.sub(" ", text).strip()
    for secret in _secrets(url):
        text = text.replace(secret, "<secret>")
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"


def _secrets(url: str) -> list[str]:
    """Every part of the URL, for which of them is the password depends on the service; not its host's name."""
    rest = url.partition("://")[2] or url
    parts = {rest, *rest.split("/"), *re.split("[/:@?&=,;]", rest)}
    parts |= {urllib.parse.unquote(part) for part in (*parts, rest.rpartition("@")[0])}
    parts |= {
        base64.b64encode(part.encode()).decode() for part in parts if ":" in part
    }  # as a header has user:password
    kept = {part for part in parts if len(part) >= _SHORTEST_SECRET and not _HOST_NAME.fullmatch(part)}
    return sorted(kept, key=len, reverse=True)


@hookimpl
def notifyd_channels() -> list[type[Channel[Any]]]:
    """One channel."""
    return [AppriseChannel]
