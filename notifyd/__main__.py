"""`notifyd`, and `python -m notifyd`: the commands of the CLI, and the demonstration."""

from __future__ import annotations

import os
import sys
from functools import cache
from io import TextIOWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer import Typer

INTERRUPTED = 130
COMPLETE = "_NOTIFYD_COMPLETE"
"""By this variable a shell asks; `notifyd completion` prints what makes it do so."""


def main() -> None:
    """Run the command that the arguments name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale that lacks a character is no reason to fail
    try:
        application()(prog_name="notifyd")
    except KeyboardInterrupt:  # also while the imports are at work
        sys.exit(INTERRUPTED)


@cache
def application() -> Typer:
    """Every command, the demonstration among them."""
    if COMPLETE in os.environ:  # a shell asks what fits
        from typer.completion import completion_init  # type: ignore[attr-defined] # as its --install-completion does

        completion_init()
    from notifyd.cli.app import app
    from notifyd.demo import demo

    app.command()(demo)
    return app


if __name__ == "__main__":
    main()
