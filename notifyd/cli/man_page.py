"""`notifyd man`: the manual page, made of what `--help` says, so that neither can say what the other does not.

Its language is man(7)'s: https://man7.org/linux/man-pages/man7/man.7.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from notifyd import __version__

FILES = {
    "/etc/notifyd/notifyd.toml": "The settings. notifyd init writes one with a comment for each key.",
    "/etc/notifyd/credentials/": "Secrets, each in a file of its own, which the unit hands over by that name.",
    "/var/lib/notifyd/notifyd.db": "The state of a service: what was read, found, told and is still to be sent.",
}
EXIT_STATUS = {
    "0": "It is done.",
    "1": "It failed, and the reason is on standard error.",
    "2": "It was used wrongly, or the settings have mistakes; each is named with its line.",
    "3": "The state DB is damaged, gone, or of a newer notifyd, which no restart mends.",
}
ENVIRONMENT = {
    "NOTIFYD_CONFIG": "The settings file, where --config does not name one.",
    "STATE_DIRECTORY": "Where the state DB is, unless the settings say it; systemd sets it for a service.",
}


def man_page(command: Any) -> None:
    """Print the page of the whole command, as typer has it."""
    print("\n".join(_page(command)))  # noqa: T201 (as it is, line by line)


def _page(command: Any) -> Iterator[str]:
    first, *rest = command.help.rstrip(".")
    yield f'.TH NOTIFYD 1 "" "notifyd {__version__}" "User Commands"'
    yield from (".SH NAME", rf"notifyd \- {_text(first.lower() + ''.join(rest))}")
    yield from (".SH SYNOPSIS", ".B notifyd", "[OPTIONS] COMMAND [ARGS]...")
    yield from (".SH DESCRIPTION", _text(command.help))
    yield _text("notifyd run is the daemon; the other commands look at what it does, or have it do something.")
    yield ".SH OPTIONS"
    yield from _parameters("notifyd", command)
    yield ".SH COMMANDS"
    for name, each in _commands(command):
        usage = " ".join(each.collect_usage_pieces(typer.Context(each, info_name=name)))
        yield from (f'.SS "notifyd {_text(name)} {_text(usage)}"', _text(each.help or ""))
        yield from _parameters(name, each)
    for title, table in (("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT), ("EXIT STATUS", EXIT_STATUS)):
        yield f".SH {title}"
        for term, text in table.items():
            yield from (".TP", rf"\fB{_text(term)}\fR", _text(text))
    yield from (".SH SEE ALSO", ".BR systemctl (1),", ".BR journalctl (1)")


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Each command that does something, by its whole name."""
    for name, command in group.commands.items():
        parts = getattr(command, "commands", None)
        if parts is None or command.invoke_without_command:
            yield f"{before}{name}", command
        if parts is not None:
            yield from _commands(command, f"{before}{name} ")


def _parameters(name: str, command: Any) -> Iterator[str]:
    """Its arguments and options, as `--help` has them."""
    with typer.Context(command, info_name=name) as context:
        for each in command.params:
            if record := each.get_help_record(context):
                term, text = record
                words = (rf"\fB{_text(word)}\fR" if word.startswith("-") else _text(word) for word in term.split())
                yield from (".TP", " ".join(words), _text(text))


def _text(text: str) -> str:
    """Plain text, with nothing in it that means something to man."""
    line = " ".join(text.split()).replace("\\", r"\e").replace("-", r"\-").replace("…", "...")
    return rf"\&{line}" if line.startswith((".", "'")) else line
