"""The options that several commands share, and the settings that they lead to."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from notifyd.errors import NotifydError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from notifyd.settings import Settings, SourceSettings

DEFAULT_CONFIG = Path("/etc/notifyd/notifyd.toml")
ENVIRONMENT = "NOTIFYD_CONFIG"


class WrongUse(NotifydError):
    """The command was asked for something that there is not."""


class State(StrEnum):
    """The states of a delivery, from the first to the last."""

    GATHERING = "gathering"
    PENDING = "pending"
    SENDING = "sending"
    RETRYING = "retrying"
    SENT = "sent"
    DEAD = "dead"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class LostState(StrEnum):
    """The states that a delivery can be given a new life from."""

    DEAD = "dead"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Allowed(StrEnum):
    """What a token may be allowed."""

    MANAGE_SETTINGS = "manage_settings"
    READ_METRICS = "read_metrics"


def _chosen(ctx: typer.Context, param: typer.CallbackParam, value: Path) -> Path:
    """The file given after the command's name, else the one given before it, or by the environment."""
    source = ctx.get_parameter_source(param.name or "")
    if ctx.parent is None or (source is not None and source.name == "COMMANDLINE"):
        return value
    before: Path = ctx.parent.params.get("config") or ctx.find_root().params["config"]
    return before


def _place(value: int | None) -> int | None:
    """As SQLite counts rows."""
    if value is not None and not 0 < value < 2**63:
        raise typer.BadParameter('is no place in a listing; its "next" is one')
    return value


ConfigBefore = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", envvar=ENVIRONMENT, help="The settings file.")
]
ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config", "-c", metavar="FILE", callback=_chosen, help=f"The settings file; else ${ENVIRONMENT} names it."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ConfigName = Annotated[str | None, typer.Option("--config-name", metavar="NAME", help="Only this notification config.")]
Limit = Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")]
Before = Annotated[
    int | None,
    typer.Option(metavar="NEXT", callback=_place, help='Only those before this one: the "next" of a listing.'),
]


def read_settings(path: Path) -> Settings:
    """The settings, without their secrets: what a command needs that only reads or requeues.

    A mistake in the file is said, and does not keep anybody from looking at what the daemon did.
    """
    from notifyd.cli.output import complain, count
    from notifyd.settings import load_around

    settings, problems = load_around(path)
    if problems:
        more = f" (and {count(len(problems) - 1, 'more problem')}: see `notifyd check`)" if len(problems) > 1 else ""
        complain(f"{problems[0]}{more}; this is shown without it")
    return settings


def with_urls(settings: Settings) -> Sequence[SourceSettings]:
    """The sources; where the url of one is a secret, with that secret if it can be had here."""
    from notifyd.settings import SettingsError, load

    if all(source.url.resolved for source in settings.sources):
        return settings.sources
    try:
        return load(settings.path, outside_unit=True).sources
    except SettingsError:
        return settings.sources


def named(settings: Settings, name: str) -> SourceSettings:
    """The source of this name, with its url; WrongUse where the file has none."""
    from notifyd.settings.wording import did_you_mean

    found = next((source for source in with_urls(settings) if source.name == name), None)
    if found is None:
        names = [source.name for source in settings.sources]
        raise WrongUse(f'no source is called "{name}"{did_you_mean(name, names)}')
    return found
