"""Log lines, as their three readers get them: journald, a terminal, a program that parses JSON."""

import io
import json
import logging
import os
import pty
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest
import structlog

from notifyd.api import Secret
from notifyd.observe import logs
from notifyd.observe.journal import Journal
from notifyd.observe.storm import MOST, Kind, Storm

log = structlog.get_logger("notifyd.test")

HOSTILE = "bad\n<0>forged line\x1b[2J\u2028end"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Take back what `configure` changed in the process."""
    loggers = [logging.getLogger(name) for name in ("", "apscheduler", "httpcore", "httpx", "peewee", "uvicorn")]
    before = [(logger, list(logger.handlers), logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[tuple[TextIO, dict[str, str]]]:
    """A stream that $JOURNAL_STREAM names, and that environment."""
    with (tmp_path / "journal").open("w+", encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        yield stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


def lines(stream: TextIO) -> list[str]:
    stream.seek(0)
    return stream.read().splitlines()


def entries(stream: TextIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines(stream)]


def raise_with_a_secret_in_a_local_variable() -> None:
    password = "hunter2"
    raise RuntimeError(f"refused after {len(password)} letters")


def test_a_program_gets_json_with_time_level_and_logger() -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    log.warning("delivery failed", delivery="d1", attempt=2)
    [entry] = entries(stream)
    assert entry.pop("timestamp", "").endswith("Z")  # type: ignore[attr-defined]
    assert entry == {
        "level": "warning",
        "logger": "notifyd.test",
        "event": "delivery failed",
        "delivery": "d1",
        "attempt": 2,
    }


def test_standard_logging_comes_out_the_same_way_with_its_extras() -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    logging.getLogger("plugin").error("no route to %s", "host", extra={"delivery": "d1"})
    [entry] = entries(stream)
    assert (entry["event"], entry["level"], entry["delivery"]) == ("no route to host", "error", "d1")


def test_lines_carry_what_their_context_was_bound_to() -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    with structlog.contextvars.bound_contextvars(delivery="d1"):
        log.info("sent")
        logging.getLogger("plugin").info("posting")
    assert [entry["delivery"] for entry in entries(stream)] == ["d1", "d1"]


@pytest.mark.parametrize(("level", "heard"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_nothing_below_the_level_is_heard(level: logs.Level, heard: int) -> None:
    stream = io.StringIO()
    logs.configure(level, stream)
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("one")
        getattr(logging.getLogger("plugin"), name)("two")
    assert len(entries(stream)) == 2 * heard


def test_configured_again_it_replaces_itself_and_leaves_others_handlers() -> None:
    others = logging.NullHandler()
    logging.getLogger().addHandler(others)
    first, second = io.StringIO(), io.StringIO()
    logs.configure("error", first)
    logs.configure("debug", second)
    log.debug("hello")
    assert (lines(first), len(lines(second))) == ([], 1)
    assert others in logging.getLogger().handlers


@pytest.mark.parametrize("name", ["httpx", "httpcore.http11", "peewee", "uvicorn.error"])
def test_libraries_that_tell_secrets_or_every_request_stay_quiet_at_debug(name: str) -> None:
    stream = io.StringIO()
    logs.configure("debug", stream)
    logging.getLogger(name).info("POST https://hooks.example/T0/SECRET")
    logging.getLogger(name).error("this matters")
    assert [entry["event"] for entry in entries(stream)] == ["this matters"]


def test_a_poll_slower_than_its_interval_does_not_warn_once_a_tick() -> None:
    stream = io.StringIO()
    logs.configure("debug", stream)
    logging.getLogger("apscheduler.scheduler").warning("skipped: maximum number of running instances reached (1)")
    logging.getLogger("apscheduler.executors.default").error("a job raised")
    assert [entry["event"] for entry in entries(stream)] == ["a job raised"]


def test_a_traceback_shows_no_local_variables_and_a_secret_its_mask() -> None:
    stream = io.StringIO()
    logs.configure("info", stream)
    try:
        raise_with_a_secret_in_a_local_variable()
    except RuntimeError:
        log.exception("a bug in channel slack", webhook_url=Secret("https://hooks.example/T0/x"))
    [entry] = entries(stream)
    assert "RuntimeError: refused after 7 letters" in str(entry["exception"])
    assert "hunter2" not in str(entry)
    assert entry["webhook_url"] == "<secret>"


def test_journald_gets_a_priority_at_the_head_of_each_line(journal: tuple[TextIO, dict[str, str]]) -> None:
    stream, environ = journal
    logs.configure("debug", stream, environ)
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(log, level)("a turn", source="shop")
    assert lines(stream) == [f"<{number}>a turn [notifyd.test] source=shop" for number in (7, 6, 4, 3, 2)]


def test_journald_gets_the_priority_on_each_line_of_a_traceback(journal: tuple[TextIO, dict[str, str]]) -> None:
    stream, environ = journal
    logs.configure("info", stream, environ)
    try:
        raise_with_a_secret_in_a_local_variable()
    except RuntimeError:
        log.exception("a bug", url=Secret("https://hooks.example/T0/x"))
    assert lines(stream)[0] == "<3>a bug [notifyd.test] url=<secret>"
    assert lines(stream)[-1] == "<3>RuntimeError: refused after 7 letters"
    assert all(line.startswith("<3>") for line in lines(stream))


def test_journald_gets_fields_by_its_own_protocol(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(tmp_path / "socket"))
        journal = Journal(tmp_path / "socket")
        assert journal.send("sent", 6, {"delivery": "d1", "title": "two\nMESSAGE=lines", "a.b": 1})
        assert journald.recv(4096) == (
            b"MESSAGE=sent\nPRIORITY=6\nSYSLOG_IDENTIFIER=notifyd\nNOTIFYD_DELIVERY=d1\n"
            b"NOTIFYD_TITLE\n\x11\0\0\0\0\0\0\0two\nMESSAGE=lines\nNOTIFYD_A_B=1\n"
        )
        assert not journal.send("x" * 10_000_000, 6, {})
    (tmp_path / "socket").unlink()
    assert not journal.send("nobody is there", 6, {})
    journal.close()


def test_a_storm_is_not_a_log_storm() -> None:
    stream = io.StringIO()
    logs.say_left_out(at_the_end=True)
    logs.configure("info", stream)
    for number in range(1000):
        log.warning("not sent", delivery=f"d{number}")
        logging.getLogger("plugin").error("no route to %s", f"host{number}")
    log.info("something else")
    logs.say_left_out()
    assert len(entries(stream)) == 2 * MOST + 1
    logs.say_left_out(at_the_end=True)
    *_, ours, others = entries(stream)
    assert (ours["event"], ours["level"], ours["left_out"]) == (
        "900 more lines like this one: not sent",
        "warning",
        900,
    )
    assert (others["event"], others["level"]) == ("900 more lines like this one: no route to %s", "error")


def test_a_minute_that_is_over_makes_room_for_the_next() -> None:
    now = [0.0]
    storm, kind = Storm(lambda: now[0]), Kind("info", "notifyd", "sent")
    assert sum(storm.passes(kind) for _ in range(150)) == MOST
    assert storm.ended() == []
    now[0] = 60.0
    assert storm.ended() == [(kind, 50)]
    assert storm.passes(kind)
    now[0] = 120.0
    assert storm.ended() == []


def test_a_hostile_text_forges_no_line_in_the_journal(journal: tuple[TextIO, dict[str, str]]) -> None:
    stream, environ = journal
    logs.configure("info", stream, environ)
    log.info(HOSTILE, message=HOSTILE)
    log.error("a bug", exc_info=ValueError("\x1b[2J"))
    head, *rest = lines(stream)
    assert head.startswith(r"<6>bad\n<0>forged line\x1b[2J\u2028end")
    assert all(line.startswith("<3>") and "\x1b" not in line for line in rest)


def test_a_stream_that_journald_does_not_read_gets_no_priorities(
    journal: tuple[TextIO, dict[str, str]], tmp_path: Path
) -> None:
    """$JOURNAL_STREAM is inherited by a process whose stderr was sent to a file."""
    with (tmp_path / "file").open("w+", encoding="utf-8") as file:
        for stream in (file, io.StringIO()):
            logs.configure("info", stream, journal[1])
            log.info("hello")
            assert entries(stream)[0]["event"] == "hello"


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colour_unless_it_wants_none(environ: dict[str, str], coloured: bool) -> None:
    written = on_a_terminal(environ, lambda: log.warning("late", message="\x1b]0;owned\x07"))
    assert "late" in written
    assert ("\x1b[" in written) is coloured
    assert "\x1b]0;" not in written


def on_a_terminal(environ: dict[str, str], say: Callable[[], object]) -> str:
    """What `say` logs, as a pseudo-terminal shows it."""
    outer, inner = pty.openpty()
    try:
        with os.fdopen(inner, "w", encoding="utf-8") as stream:
            logs.configure("info", stream, environ)
            say()
            stream.flush()
            return os.read(outer, 4096).decode()
    finally:
        os.close(outer)


def test_the_default_stream_is_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    assert sys.stderr in [getattr(handler, "stream", None) for handler in logging.getLogger().handlers]
    log.info("hello")
    assert capsys.readouterr().out == ""
