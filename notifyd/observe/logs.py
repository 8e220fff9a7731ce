"""One way for every log line, ours and the libraries', to the stream that the daemon was given.

    structlog ─────────────────────┐
                                   ├─► one stream ─► journald, with its fields   a terminal: in colour   else: JSON
    logging ──► one root handler ──┘

Lines that repeat beyond all bounds are counted instead (`storm.py`). What a plugin logs by itself has none of its
secrets: each line is masked where it is made, which is in the plugin's context.

Our own lines do not go by way of `logging`, which takes three times as long for each: there is one for each delivery.

The libraries are kept quiet at every level, debug included, because some of what they say is a secret:
httpx logs the whole URL of each request (a Slack webhook's URL is its password), httpcore the headers,
peewee the values in its SQL. uvicorn logs each request, and APScheduler warns once a tick for as long as
a poll is slower than its interval, which `Health` tells better. Give uvicorn `log_config=None`: with its
own config it would put a second handler beside this one.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from notifyd.api.masking import masked_here
from notifyd.observe.journal import SOCKET as JOURNAL
from notifyd.observe.journal import Journal
from notifyd.observe.storm import Kind, Storm

Level = Literal["debug", "info", "warning", "error"]

_LIBRARIES = {
    "apscheduler": logging.ERROR,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "peewee": logging.WARNING,
    "uvicorn": logging.ERROR,  # it warns of each request that is no HTTP, as many as anybody cares to send
}

# syslog(3) severities, as sd-daemon(3) wants them at the head of a line
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_BUT_NEWLINE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_BLOCKS = ("exception", "stack")


def configure(level: Level = "info", stream: TextIO | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Send all logging at or above `level` to `stream` (default: stderr). Call it again to change either."""
    _storm.ended(all_of_them=True)
    own: TextIO = getattr(sys.stderr, "own", sys.stderr)  # beneath what plugins print to (`printed.py`)
    handler = logging.StreamHandler(stream or own)
    rendering = _rendering(handler.stream, environ)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                *_FACTS,
                structlog.stdlib.PositionalArgumentsFormatter(),
                structlog.stdlib.ExtraAdder(),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_FINISHED, *rendering],
        )
    )
    handler.addFilter(_not_too_many)
    _replace_root_handler(handler, level)
    structlog.configure(
        processors=[*_FACTS, _unless_too_many, *_FINISHED, *_to_journal(handler.stream, environ), *rendering],
        logger_factory=partial(_Lines, handler),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,  # a reload may change the level
    )


_FACTS: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.StackInfoRenderer(),
)
"""What is added to a line where it is logged, whoever logs it."""


def _masked(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Without the secrets of the plugin that logs this, if one does."""
    return {masked_here(key): _masked_value(value) for key, value in event.items()}


def _masked_value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    clean = masked_here(text)
    return value if clean == text else clean


_FINISHED: tuple[Processor, ...] = (
    structlog.processors.format_exc_info,  # the plain traceback: never one that shows local variables
    _masked,
)
"""What makes a line final, whoever reads it."""


class _Lines:
    """Writes finished lines to the handler's stream, and takes turns with it. What cannot be written is lost."""

    def __init__(self, handler: logging.StreamHandler[TextIO], name: str = "") -> None:
        self._handler, self.name = handler, name

    def _write(self, line: str) -> None:
        self._handler.acquire()
        try:
            with suppress(OSError, ValueError):  # a closed pipe is no reason not to send
                self._handler.stream.write(line + self._handler.terminator)
                self._handler.flush()
        finally:
            self._handler.release()

    debug = info = warning = error = critical = exception = msg = _write


_storm = Storm()


def say_left_out(*, at_the_end: bool = False) -> None:
    """Write how many lines were left out of a storm whose minute is over. Call it every few seconds."""
    for kind, count in _storm.ended(all_of_them=at_the_end):
        structlog.get_logger(kind.logger).log(
            logging.getLevelName(kind.level.upper()), f"{count} more lines like this one: {kind.event}", left_out=count
        )


def _unless_too_many(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    if not _storm.passes(Kind(event.get("level", method), event.get("logger", ""), masked_here(str(event["event"])))):
        raise structlog.DropEvent
    return event


def _not_too_many(record: logging.LogRecord) -> bool:
    """The same for a line of a library."""
    return _storm.passes(Kind(record.levelname.lower(), record.name, masked_here(str(record.msg))))


def _to_journal(stream: TextIO, environ: Mapping[str, str]) -> list[Processor]:
    """What hands a line to journald with its fields; where it cannot, the line goes on to the stream."""
    if not _is_journal(stream, environ) or not JOURNAL.exists():
        return []
    journal = Journal(JOURNAL)

    def hand_over(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        fields = dict(event)
        priority = _PRIORITIES.get(fields.get("level", "info"), _PRIORITIES["info"])
        message = _plain(logger, method, _printable(logger, method, _without_level(fields)))
        if journal.send(message, priority, {key: fields[key] for key in fields if key != "event"}):
            raise structlog.DropEvent
        return event

    return [hand_over]


def _without_level(event: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != "level"}


def _replace_root_handler(handler: logging.Handler, level: Level) -> None:
    """Make `handler` the root's only handler of ours; leave anyone else's (a test runner's) alone."""
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, least in _LIBRARIES.items():
        library = logging.getLogger(name)
        library.setLevel(least)
        library.propagate = True  # uvicorn cuts its access log off from everyone when that is off


def _rendering(stream: TextIO, environ: Mapping[str, str]) -> list[Processor]:
    """The last processors, by who reads the stream."""
    if _is_journal(stream, environ):
        return [_printable, _for_journal]
    if stream.isatty():
        return [_timestamp("%Y-%m-%d %H:%M:%SZ"), _printable, _console(colors=not environ.get("NO_COLOR"))]
    return [_timestamp("iso"), structlog.processors.JSONRenderer(ensure_ascii=False)]


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether journald is at the other end: systemd.exec(5) says to compare device and inode, as a
    process inherits $JOURNAL_STREAM even where its own output was sent elsewhere."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # a stream in memory, or a closed one
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _timestamp(form: str) -> Processor:
    return structlog.processors.TimeStamper(fmt=form, utc=True)


def _console(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )


_plain = structlog.dev.ConsoleRenderer(
    colors=False, exception_formatter=structlog.dev.plain_traceback, sort_keys=False, pad_event_to=0
)


def _for_journal(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """The line without time and level, which journald keeps itself; each line of a traceback has the priority."""
    priority = _PRIORITIES.get(event.pop("level", "info"), _PRIORITIES["info"])
    return "\n".join(f"<{priority}>{line}" for line in _plain(logger, method, event).split("\n"))


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape control characters: a message out of a sync log must not forge a line or drive a terminal."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = (_CONTROL_BUT_NEWLINE if key in _BLOCKS else _CONTROL).sub(_escape, value)
    return event


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
