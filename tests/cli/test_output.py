"""How answers look: whole lines in a pipe, readable in a narrow terminal, and harmless in any."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from notifyd.cli.output import count, cut, print_table, printable, say, took
from tests.cli.conftest import Notifyd, Past, from_beginning, hook, invoke
from tests.sinks.log import JobLog
from tests.system.site import Site

HOSTILE = "\x1b]0;owned\x07 \x1b[2J [red]markup[/red] :smile: \u202egnp.exe \x9b31m two\nlines"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("bell\x07", "bell\\x07"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("\ud800", "\\ud800"),
        ("naïve ☕", "naïve ☕"),
    ],
)
def test_nothing_drives_a_terminal(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_how_many_of_what() -> None:
    assert [count(n, "source") for n in (0, 1, 2)] == ["0 sources", "1 source", "2 sources"]
    assert [count(n, "delivery") for n in (1, 2)] == ["1 delivery", "2 deliveries"]
    assert count(2, "day") == "2 days"


def test_long_texts_are_cut() -> None:
    assert (cut("x" * 160), cut("x" * 161)) == ("x" * 160, "x" * 159 + "…")


@pytest.mark.parametrize(("milliseconds", "text"), [(None, None), (0.2, "0 ms"), (999.4, "999 ms"), (1234, "1.2 s")])
def test_lengths_of_time(milliseconds: float | None, text: str | None) -> None:
    assert took(milliseconds) == text


@pytest.fixture
def hostile(site: Site, jobs: JobLog, past: Past) -> None:
    jobs.add("error", HOSTILE)
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    past.attempt()


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("command", [["why", "1"], ["check"], ["history"], ["deliveries"], ["status"]])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_message_from_a_log_is_only_text(notifyd: Notifyd, command: list[str], form: list[str]) -> None:
    answer = notifyd(*command, *form)
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(answer.stdout + answer.stderr)
    if command[0] in ("why", "check"):
        assert "[red]markup[/red] :smile:" in answer.stdout


@pytest.mark.usefixtures("hostile")
def test_a_row_is_a_line_where_no_terminal_is(notifyd: Notifyd) -> None:
    *_, row = notifyd("deliveries").stdout.splitlines()
    assert "dlv_" in row
    assert "Sync Error: quickbooks" in row
    assert row == row.rstrip()


def printed(columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A table of seven columns and a long line, where so many columns are asked for."""
    monkeypatch.setenv("COLUMNS", str(columns))
    names = ("source", "schedule", "connector", "entity", "failed runs", "since", "told as")
    told = "each failure by itself: too few in a row"
    print_table(names, [("shop", f"job {n}", "woo", "orders", 2, "2026-12-01 02:39:01 UTC", told) for n in (1, 2)])
    say("  → " + "read this to its end " * 6)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    return lines


def test_a_table_whose_texts_can_be_wrapped_stays_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(100, capsys, monkeypatch)
    assert lines[0].split()[:3] == ["source", "schedule", "connector"]
    assert any("each failure" in line for line in lines)


def test_a_table_that_is_too_wide_is_a_list_behind_bullets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(50, capsys, monkeypatch)
    table = [line for line in lines if "→" not in line and "read" not in line and "end" not in line]
    assert [line[:4] for line in table if "•" in line] == ["  • ", "  • "]
    assert all(line.startswith("    ") for line in table if "•" not in line)


def test_a_long_line_is_wrapped_between_its_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(60, capsys, monkeypatch)
    start = next(n for n, line in enumerate(lines) if line.startswith("  → "))
    assert all(line.startswith("    ") for line in lines[start + 1 :])
    assert " ".join(" ".join(lines[start:]).split()) == "→ " + " ".join(["read this to its end"] * 6)


def test_a_long_line_in_a_pipe_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    say("word " * 1000)
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize("command", [[], ["history"], ["plugin", "new"], ["token", "create"]])
def test_the_help_shows_a_flag_without_a_value_and_breaks_no_word(command: list[str]) -> None:
    text = invoke(*command, "--help", COLUMNS="80").stdout
    assert "bool" not in text
    assert "--help" in text
    if command == ["history"]:
        assert "Only info, warning, error or" in text


def in_terminal(columns: int, *arguments: str) -> str:
    """What a command prints in a terminal of that width, without styles."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environ = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "notifyd", *arguments]
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env={**environ, "TERM": "xterm", "NO_COLOR": "1"}
    ) as process:
        os.close(follower)
        chunks = []
        while chunk := _read(leader):
            chunks.append(chunk)
    os.close(leader)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", b"".join(chunks).decode())


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # the other side is closed
        return b""


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("columns", [60, 100, 160])
def test_ids_can_be_copied_in_a_terminal_of_any_width(site: Site, notifyd: Notifyd, columns: int) -> None:
    (item,) = notifyd("deliveries", "--json").items
    for command in (["deliveries"], ["why", "1"]):
        text = in_terminal(columns, *command, "--config", str(site.file))
        assert item["id"] in text, text
        assert max(len(line) for line in text.splitlines()) <= columns


@pytest.mark.usefixtures("hostile")
def test_times_are_local_for_people_and_utc_for_programs(site: Site, notifyd: Notifyd, tmp_path: Path) -> None:
    (item,) = notifyd("deliveries", "--json").items
    assert item["created_at"].endswith("Z")
    texts = []
    for zone in ("UTC", "Pacific/Kiritimati"):
        command = [sys.executable, "-m", "notifyd", "deliveries", "--config", str(site.file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "TZ": zone})
        texts.append(done.stdout.splitlines()[-1].strip()[:23])
    assert texts[0] == item["created_at"][:19].replace("T", " ") + " UTC"
    assert texts[1][-4:] == " +14"  # no time is without its zone
    assert texts[0][:19] != texts[1][:19]
