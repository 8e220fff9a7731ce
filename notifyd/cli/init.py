"""`notifyd init`: a settings file to begin with."""

from __future__ import annotations

import os
from pathlib import Path

from notifyd.cli.options import DEFAULT_CONFIG
from notifyd.cli.output import say
from notifyd.errors import NotifydError
from notifyd.settings import default_config_text

_OWNER_ONLY = 0o600  # it will hold secrets


def init(path: Path) -> None:
    """Write the commented default settings to a file that must not be there yet."""
    _write(path, default_config_text())
    given = "" if path == DEFAULT_CONFIG else f" --config {path}"
    say(f"wrote {path}; only you may read it, as it may come to hold secrets")
    say("next: uncomment one [[sources]] and one [[notifications]] in it, then")
    say(f"  notifyd check{given}      # is it right, and are the newest rows understood?")
    say(f"  notifyd run{given}        # start")
    say(f"  notifyd test NAME{given}  # in another terminal: does a message arrive?")


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 (a descriptor has no Path)
            file.write(text)
    except FileExistsError:
        raise NotifydError(f"{path} is there already, and was left as it is") from None
    except FileNotFoundError:
        raise NotifydError(f"{path}: there is no folder {path.parent}; make it first") from None
    except OSError as error:
        raise NotifydError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None
