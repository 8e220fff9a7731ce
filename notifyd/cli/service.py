"""`notifyd service install` and `uninstall`: the systemd unit for the way in which notifyd was installed here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from shutil import which

from notifyd.cli.options import DEFAULT_CONFIG
from notifyd.cli.output import say
from notifyd.errors import NotifydError

MARK = "# Written by `notifyd service install`; `notifyd service uninstall` removes it.\n"

_COMMAND = "/usr/bin/notifyd"
_UNIT = "etc/systemd/system/notifyd.service"
_BACKOFF = "etc/systemd/system/notifyd.service.d/backoff.conf"
_PLACES = {_UNIT: "notifyd.service", "etc/sysusers.d/notifyd.conf": "notifyd.sysusers"} | {
    "etc/tmpfiles.d/notifyd.conf": "notifyd.tmpfiles",
    _BACKOFF: "backoff.conf",
}
_PACKAGED = Path("/usr/lib/systemd/system/notifyd.service")
_SINCE_254 = 254
_HIDDEN = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")  # noqa: S108
_SPECIAL = re.compile(r"[^\w@%+=:,./-]")


def install(root: Path, *, dry_run: bool) -> None:
    """Write unit, account and folders under `root`, and say what to do next. With `dry_run`, only show them."""
    if _is_packaged(root):
        say(f"the package brought its own unit, {_PACKAGED}: there is nothing to write")
        _say_next(root, Path(_COMMAND), written=False)
        return
    command = _command()
    texts = dict(_texts(command, root))
    if dry_run:
        for path, text in texts.items():
            say(f"--- {path}")
            print(text)  # noqa: T201 (as it is, line by line)
        return
    for path, text in texts.items():
        _write(path, text)
        say(f"wrote {path}")
    _say_next(root, command, written=True)


def uninstall(root: Path, *, dry_run: bool) -> None:
    """Remove what `install` wrote, and nothing that somebody else did."""
    ours = [path for name in _PLACES if (path := root / name).is_file() and _is_ours(path)]
    for path in ours:
        if not dry_run:
            path.unlink()
        say(f"{'would remove' if dry_run else 'removed'} {path}")
    if not ours:
        say(f"there is nothing under {root} that `notifyd service install` wrote")
        return
    if not dry_run and (folder := (root / _BACKOFF).parent).is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    say("next, as root:")
    say("  systemctl disable --now notifyd  # it runs until then")
    say("  systemctl daemon-reload")
    say("what stays: the settings in /etc/notifyd, the state in /var/lib/notifyd, and the account notifyd")


def _texts(command: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """Each file and what it says."""
    for place, name in _PLACES.items():
        if place != _BACKOFF or _version() >= _SINCE_254:
            text = files("notifyd.files").joinpath(name).read_text(encoding="utf-8")
            yield root / place, MARK + text.replace(_COMMAND, str(command))


def _command() -> Path:
    """The `notifyd` that runs now, at a place that the unit can reach."""
    command = Path(sys.prefix, "bin", "notifyd")
    if not command.is_file():
        command = Path(which("notifyd") or command)
    if str(command).startswith(_HIDDEN) or str(command.resolve()).startswith(_HIDDEN):
        raise NotifydError(
            f"{command} is where the account notifyd cannot come, and the unit's sandbox hides it; install it for the "
            "whole system: `sudo pipx install --global notifyd`, or in a virtual environment such as /opt/notifyd"
        )
    if _SPECIAL.search(str(command)):
        raise NotifydError(f"the path {command} has characters that a unit file does not take as they are")
    return command


def _is_packaged(root: Path) -> bool:
    return (root / _PACKAGED.relative_to("/")).is_file() and sys.prefix in ("/usr", "/usr/lib/notifyd")


def _is_ours(path: Path) -> bool:
    return path.read_text(encoding="utf-8", errors="replace").startswith(MARK)


def _write(path: Path, text: str) -> None:
    if path.exists() and not _is_ours(path):
        raise NotifydError(
            f"{path} is there already, and `notifyd service install` did not write it: it was left as it is"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        hint = "; try sudo" if isinstance(error, PermissionError) else ""
        raise NotifydError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}{hint}") from None


def _version() -> int:
    """systemd's; 0 where there is none."""
    if not which("systemctl"):
        return 0
    said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S607
    found = re.match(r"systemd (\d+)", said)
    return int(found[1]) if found else 0


def _say_next(root: Path, command: Path, *, written: bool) -> None:
    say("next, as root:")
    if written:
        say("  systemd-sysusers && systemd-tmpfiles --create notifyd.conf && systemctl daemon-reload")
    if not (root / DEFAULT_CONFIG.relative_to("/")).exists():
        say(f"  {command} init {DEFAULT_CONFIG}  # then edit it: one [[sources]], one [[notifications]]")
        say(f"  chown root:notifyd {DEFAULT_CONFIG} && chmod 640 {DEFAULT_CONFIG}")
    say(f"  runuser -u notifyd -- {command} check")
    say("  systemctl enable --now notifyd")
