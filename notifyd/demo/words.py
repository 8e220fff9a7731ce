"""What is said before and after the story."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from notifyd.demo import balance
from notifyd.demo.balance import Balance
from notifyd.demo.settings_file import CONFIGS, WANTS
from notifyd.demo.stage import Place
from notifyd.demo.terminal import Terminal
from notifyd.errors import NotifydError

_LOG_LINES = 12


def introduce(place: Place, terminal: Terminal) -> None:
    """What is about to be seen, and where its files are."""
    terminal.headline("notifyd reads the log that a sync system writes, and tells people what they must know.")
    terminal.say("sync system ──► sync log ──► notifyd ──► webhook · Slack · e-mail")
    terminal.say("")
    terminal.say("Only the sync system is simulated. The log, the daemon, HTTP and SMTP are real:")
    terminal.pairs(
        (("settings", f"{place.settings}"), ("sync log", f"{place.sync_log}"), ("its own log", f"{place.log}"))
    )
    terminal.say("")
    terminal.say("The settings name who is told of what:")
    terminal.pairs(zip(CONFIGS, WANTS, strict=True))
    terminal.say("")
    terminal.say("Times below are from a row in the sync log to the arrival of the message.")


def show(taken: Balance, terminal: Terminal) -> None:
    """The books."""
    terminal.pairs(
        (
            ("rows", f"{taken.written:,} written, {taken.read:,} read, {taken.failures:,} of them failures"),
            ("events", f"{taken.events:,} found: the failures, an alarm and a recovery"),
        )
    )
    terminal.say("")
    terminal.table(balance.HEADER, balance.rows(taken))
    terminal.say("")


def agree(taken: Balance, terminal: Terminal) -> None:
    """That everything adds up; only for books that do."""
    terminal.went_well("balanced", "events = left out (by filters) + folded + told, for each")
    terminal.went_well("complete", f"every row was read, and all {taken.sent} messages arrived")


def say_what_is_next(place: Place, terminal: Terminal, alarm: str | None) -> None:
    """Where to go from here; with the id of the alarm, also what to try on the folder that stays."""
    command = _command()
    terminal.heading("What next")
    if alarm:
        terminal.say(f"{place.folder} is left for a look:")
        for words in ("status", "history", f"why {alarm}"):
            terminal.say(f"  {command} --config {place.settings} {words}")
        terminal.say("")
    terminal.pairs(
        (
            (f"{command} init notifyd.toml", "write settings for your own sync log, every key explained"),
            ("README.md", "ten lines to the first real Slack message"),
        )
    )


def say_what_failed(place: Place, terminal: Terminal, error: NotifydError) -> None:
    """Which part of the story did not come true, and what the daemon said last."""
    terminal.say("")
    terminal.say(f"The demonstration failed at {terminal.where}: {error}", "bold red")
    if place.log.exists():
        terminal.say("The last lines of the daemon's log:")
        for line in place.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]:
            terminal.say(line, "dim")


def _command() -> str:
    """How to call notifyd from here: by its name where the shell finds this very one, else by its path."""
    installed = Path(sys.executable).with_name("notifyd")
    if not installed.exists():
        return f"{sys.executable} -m notifyd"
    found = shutil.which("notifyd")
    return "notifyd" if found and installed.samefile(found) else os.path.relpath(installed)
