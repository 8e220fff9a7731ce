"""`notifyd demo`: the whole story without a terminal, and the ends that it can come to before its own."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from notifyd.clock import utc_now
from notifyd.demo.balance import Balance, differences
from notifyd.demo.settings_file import CONFIGS
from notifyd.settings import sqlite_url
from notifyd.store import audit, books, reads
from notifyd.store.database import open_database
from notifyd.store.lock import Lock

DEMO = (sys.executable, "-m", "notifyd", "demo")

STEPS = [
    "A first error is told at once",
    "Three failures in a row raise the alarm, and the next ones fold",
    "A rate limit is only a warning, so it goes to those who want warnings",
    "A storm of 500 errors becomes one digest",
    "An endpoint answers 503 twice, and the message still arrives",
    "A recovery is told to exactly those who were told of the failures",
]


@contextmanager
def playing(tmp_path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demonstration at work, with its folder in tmp_path."""
    process = subprocess.Popen(
        [*DEMO, *arguments],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], text: str) -> None:
    """Read on until a line has the text."""
    assert process.stdout
    assert any(text in line for line in process.stdout), process.stderr and process.stderr.read()


def folder_of(tmp_path: Path) -> Path:
    [folder] = tmp_path.glob("notifyd-demo-*")
    return folder


def daemon_of(tmp_path: Path) -> int:
    """The process id of its daemon."""
    return int(Lock(folder_of(tmp_path) / "state.db").pid)


def assert_gone(process_id: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the whole story is played, once."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def story(folder: Path) -> str:
    """What the whole story says."""
    began = time.monotonic()
    with playing(folder, "--keep") as process:
        told, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, ""), told
    assert time.monotonic() - began < 60
    return told


def test_the_story_is_told_in_plain_text(story: str) -> None:
    headings = [line[4:].strip() for line in story.splitlines() if re.match(r" \d  \S", line)]
    assert headings == STEPS
    assert "\x1b" not in story
    assert "\r" not in story


def test_everyone_is_told_of_the_first_error_and_how_soon(story: str) -> None:
    first = re.findall(r"→ (\S+) +(\d+ ms|\d+\.\d s)  Sync Error: quickbooks - invoices", story)
    assert [config for config, _ in first] == ["ops-webhook", "ops-slack", "accountant"]


def test_the_endpoint_is_seen_to_fail_twice_and_then_to_be_reached(story: str) -> None:
    assert re.findall(r"(.) ops-webhook .* (attempt \d)", story) == [
        ("✗", "attempt 1"),
        ("✗", "attempt 2"),
        ("→", "attempt 3"),
    ]


def test_it_ends_with_books_that_balance(story: str) -> None:
    [(written, read)] = re.findall(r"rows +([\d,]+) written, ([\d,]+) read", story)
    assert written == read
    rows = {
        name: [int(count) for count in counts.split()]
        for name, counts in re.findall(r"^    (\S+)((?: +\d+){7})$", story, re.MULTILINE)
    }
    assert list(rows) == ["ops-webhook", "ops-slack", "accountant"]
    assert all(events == left_out + folded + told for events, left_out, folded, told, *_ in rows.values())
    assert [retried for *_, retried, _ in rows.values()] == [2, 0, 0]
    assert [dead for *_, dead in rows.values()] == [0, 0, 0]
    assert "✓ balanced" in story


def test_books_that_do_not_balance_are_not_called_balanced(story: str, folder: Path, tmp_path: Path) -> None:
    """The story's own books, once a row and an event too many are booked and a message has not arrived."""
    [written] = re.findall(r"rows +([\d,]+) written", story)
    database = open_database(sqlite_url(Path(shutil.copy(folder_of(folder) / "state.db", tmp_path))), create=False)
    with database.transaction():
        books.add(database, "source:shop", {"read": 1, "events": 1})
    status, deliveries = audit.status(database, utc_now()), reads.deliveries(database).items
    database.close()
    taken = Balance(int(written.replace(",", "")), status, deliveries, {delivery.id for delivery in deliveries[1:]})
    assert status.differences
    assert list(differences(taken)) == [
        f"{taken.written} rows were written, but {taken.written + 1} were read",
        *status.differences,
        *(f"config {name}: 512 events were found, but 511 were offered to it" for name in sorted(CONFIGS)),
        "20 messages are booked as sent, but 19 arrived",
    ]


def test_what_it_leaves_can_be_looked_at_with_the_commands_that_it_prints(story: str, folder: Path) -> None:
    settings = folder_of(folder) / "notifyd.toml"
    commands = re.findall(rf" --config {re.escape(str(settings))} (.+)", story)
    assert [command.split()[0] for command in commands] == ["status", "history", "why"]
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "notifyd", "--config", str(settings), *command.split()],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "ops-slack" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with playing(tmp_path) as process:
        until(process, STEPS[1])
        daemon = daemon_of(tmp_path)
        process.send_signal(number)
        told, complaints = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert told.endswith("Stopped, and cleaned up.\n")
    assert complaints == ""
    assert_gone(daemon)
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_ended_before_it_has_begun(tmp_path: Path) -> None:
    with playing(tmp_path) as process:
        until(process, "its own log")
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
    assert (process.returncode, complaints) == (130, "")
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_does_not_come_true_is_named_with_what_the_daemon_said_last(tmp_path: Path) -> None:
    with playing(tmp_path) as process:
        until(process, STEPS[1])
        os.kill(daemon_of(tmp_path), signal.SIGKILL)
        told, complaints = process.communicate(timeout=20)
    assert (process.returncode, complaints) == (1, "")
    assert f"The demonstration failed at step 2, “{STEPS[1]}”: the daemon ended by itself" in told
    assert '"event": "started"' in told
    assert list(tmp_path.iterdir()) == []


def test_without_its_extra_it_says_how_to_get_it() -> None:
    absent = "import sys; sys.modules['aiosmtpd'] = None; from notifyd.demo import demo; demo()"
    done = subprocess.run([sys.executable, "-c", absent], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.endswith("pip install 'notifyd[demo]'")
