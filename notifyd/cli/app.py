"""Every command, its arguments and its help.

What a command does is in a module beside this one, which is imported only when it runs.
"""

from __future__ import annotations

import gc
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from notifyd import __version__
from notifyd.cli.options import (
    DEFAULT_CONFIG,
    Allowed,
    AsJson,
    Before,
    ConfigBefore,
    ConfigFile,
    ConfigName,
    Limit,
    LostState,
    State,
    WrongUse,
)
from notifyd.errors import NotifydError
from notifyd.model import Severity

_UsageError: type[Any] = typer.BadParameter.__bases__[0]
_OTHERWISE = '; write "--" before what begins with a dash and is no option'


class Commands(TyperGroup):
    """Says each deliberate error in its own lines, without a traceback; and shows a flag without a value."""

    def get_params(self, ctx: Any) -> Any:
        """Its own options."""
        return _flags_without_values(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One command, and those below it."""
        command = super().get_command(ctx, cmd_name)
        for each in (command, *getattr(command, "commands", {}).values()) if command else ():
            _flags_without_values(each.get_params(ctx))
        return command

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer does; what was written is kept for `invoke`."""
        self._written = list(args)
        return list(super().parse_args(ctx, args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit 2 where it was used wrongly, 1 where it failed."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # pydantic's words, which tell nobody anything
            raise
        except NotifydError as error:
            raise typer.Exit(_complain(error)) from None
        except _UsageError as error:
            name = getattr(error, "option_name", None) or "--"
            error.message += "" if name.startswith("--") else _OTHERWISE
            raise
        except UnicodeEncodeError:
            if (odd := next(filter(_is_no_text, self._written), None)) is None:
                raise
            raise typer.Exit(_complain(WrongUse(f"{odd!a}: is no text in UTF-8"))) from None


def _is_no_text(argument: str) -> bool:
    """Whether it holds bytes that are no UTF-8; a path may, and then works all the same."""
    return any("\ud800" <= char <= "\udfff" for char in argument)


def _flags_without_values(params: Any) -> Any:
    """The help would show `--json <bool>`, as if it took one."""
    for each in params:
        if getattr(each, "is_flag", False) and each.metavar is None:
            each.metavar = ""
    return params


def _complain(error: NotifydError) -> int:
    from notifyd.cli.output import complain
    from notifyd.settings import SettingsError

    for line in str(error).splitlines():
        complain(line)
    return 2 if isinstance(error, SettingsError | WrongUse) else 1


def _one_of(choices: type[Enum]) -> str:
    """The choices in words, which are broken between them, and not within one."""
    *others, last = (str(each.value) for each in choices)
    return f"{', '.join(others)} or {last}"


app = typer.Typer(
    name="notifyd",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"notifyd {__version__}")
        raise typer.Exit


@app.callback()
def notifyd(
    config: ConfigBefore = DEFAULT_CONFIG,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Reads a sync log, notices what a person must know, and tells the right people."""


@app.command()
def run(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Run the daemon until SIGTERM or Ctrl-C; SIGHUP reads the settings again."""
    gc.disable()  # an import makes no garbage: a tenth of its time, and none of it is looked through ever after
    from notifyd.cli.run import run

    gc.freeze()
    gc.enable()
    run(config)


@app.command()
def init(
    file: Annotated[
        Path | None, typer.Argument(help="Where to. Default: the --config file.", show_default=False)
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Write a commented settings file to begin with."""
    from notifyd.cli.init import init

    init(file or config)


@app.command()
def check(
    config: ConfigFile = DEFAULT_CONFIG,
    diff: Annotated[bool, typer.Option("--diff", help="Only show what a reload of the daemon would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the settings file and its sources, and show how the newest rows are understood."""
    if diff:
        from notifyd.cli.difference import difference

        difference(config, as_json=as_json)
    else:
        from notifyd.cli.check import check

        check(config, as_json=as_json)


@app.command()
def reload(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Have the daemon read its settings again, and say what comes of it: bad ones are refused, and change nothing."""
    from notifyd.cli.reload import reload

    reload(config)


@app.command()
def status(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show where everything stands now, and whether the books balance."""
    from notifyd.cli.status import status

    status(config, as_json=as_json)


@app.command()
def why(
    key: Annotated[
        str, typer.Argument(help="The key of a row, or the id of a run, a schedule, an event or a delivery.")
    ],
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Only this source's rows and runs.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Explain why someone was told of something, or was not."""
    from notifyd.cli.why import why

    why(config, key, source, as_json=as_json)


@app.command("test")
def send_test(
    name: Annotated[str, typer.Argument(help="The name of a notification config.")],
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Send a test the way that everything is sent, and say what came of it."""
    from notifyd.cli.trial import trial

    trial(config, name, as_json=as_json)


@app.command()
def history(
    config_name: ConfigName = None,
    severity: Annotated[Severity | None, typer.Option(metavar="SEVERITY", help=f"Only {_one_of(Severity)}.")] = None,
    connector: Annotated[str | None, typer.Option(metavar="ID", help="Only this connector.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed.")] = False,
    limit: Limit = 50,
    before: Before = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """List the attempts to send, newest first."""
    from notifyd.cli.listings import history

    severity_name = severity.value if severity else None
    history(config, config_name, severity_name, connector, failed=failed, limit=limit, before=before, as_json=as_json)


@app.command()
def deliveries(
    state: Annotated[State | None, typer.Option(metavar="STATE", help=f"Only {_one_of(State)}.")] = None,
    config_name: ConfigName = None,
    limit: Limit = 50,
    before: Before = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """List the notifications and where each stands, newest first."""
    from notifyd.cli.listings import deliveries

    deliveries(config, state, config_name, limit=limit, before=before, as_json=as_json)


@app.command()
def retry(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Deliveries.", show_default=False)] = None,
    state: Annotated[
        LostState | None, typer.Option(metavar="STATE", help=f"Instead of IDs: all that are {_one_of(LostState)}.")
    ] = None,
    config_name: ConfigName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Send again what is dead, expired or cancelled."""
    from notifyd.cli.retry import retry

    retry(config, ids or [], state, config_name, as_json=as_json)


@app.command()
def plugins(
    name: Annotated[str | None, typer.Argument(help="One of them, to see its options.", show_default=False)] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """List the channels and filters that there are, and what is wrong with those that cannot be used."""
    from notifyd.cli.plugins import plugins

    plugins(config, name, as_json=as_json)


@app.command()
def doctor(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Look at everything around the daemon, and say what to do about what is not well."""
    from notifyd.cli.doctor import doctor

    doctor(config, as_json=as_json)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where to; in a folder, under a name with the time.")],
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Copy the state DB to a file, also while the daemon runs."""
    from notifyd.cli.backup import backup

    backup(config, file, as_json=as_json)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Make a backup the state DB, while no daemon runs; the old one is kept."""
    from notifyd.cli.backup import restore

    restore(config, file, as_json=as_json)


@app.command()
def vacuum(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Make the state DB's file as small as what is in it, while no daemon runs."""
    from notifyd.cli.vacuum import vacuum

    vacuum(config, as_json=as_json)


plugin = typer.Typer(name="plugin", no_args_is_help=True, help="Write a plugin of your own.")
app.add_typer(plugin)


@plugin.callback()
def _plugin() -> None:
    """A command group, though it has but one command."""


@plugin.command("new")
def new_plugin(
    name: Annotated[str, typer.Argument(help="What it is called: the notification_type, or the filter's key.")],
    is_filter: Annotated[bool, typer.Option("--filter", help="A filter instead of a channel.")] = False,
    single_file: Annotated[bool, typer.Option("--single-file", help="One file for the plugins_dir.")] = False,
    into: Annotated[Path, typer.Option(help="The folder to write into.", show_default="this one")] = Path(),
) -> None:
    """Begin a plugin: a project that can be installed and has its tests, or a single file."""
    from notifyd.cli.plugin_new import new

    new(name, into, is_filter=is_filter, single_file=single_file)


sources = typer.Typer(name="sources", help="List the sources, and where reading each has come to; or read one again.")
app.add_typer(sources)


@sources.callback(invoke_without_command=True)
def list_sources(ctx: typer.Context, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List the sources, and where reading each has come to; or read one again."""
    if ctx.invoked_subcommand is None:
        from notifyd.cli.sources import sources

        sources(config, as_json=as_json)


@sources.command("rewind")
def rewind_source(
    name: Annotated[str, typer.Argument(help="The name of a source.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="WHERE",
            help="now, beginning, how far back (24h), a time (2026-11-25T12:00), or the key of the first row to read.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what that would come to.")] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Read a log again from elsewhere. What was told is not told again; what was passed by is never read."""
    from notifyd.cli.rewind import rewind

    rewind(config, name, to, dry_run=dry_run, as_json=as_json)


token = typer.Typer(name="token", no_args_is_help=True, help="Make, list and revoke the tokens of the API.")
app.add_typer(token)


@token.command("create")
def create_token(
    name: Annotated[str, typer.Option(help="Who will use it: the audit trail names it.")],
    permission: Annotated[
        list[Allowed],
        typer.Option(metavar="NAME", help=f"What it may do: {_one_of(Allowed)}. Can be given more than once."),
    ],
    expires: Annotated[str | None, typer.Option(metavar="DURATION", help="After how long, such as 90d.")] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Make a token, and print it this once."""
    from notifyd.cli.token import create

    create(config, name, [each.value for each in permission], expires, as_json=as_json)


@token.command("list")
def list_tokens(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List every token, with its state, and when it was last used."""
    from notifyd.cli.token import listing

    listing(config, as_json=as_json)


@token.command("revoke")
def revoke_token(
    which: Annotated[str, typer.Argument(metavar="NAME", help="The name of a token, or its id.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Let a token in no more, from now on."""
    from notifyd.cli.token import revoke

    revoke(config, which)


class Shell(StrEnum):
    """The shells that there are completions for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command()
def completion(shell: Annotated[Shell, typer.Argument(help="The shell that will read it.")]) -> None:
    """Print what makes a shell complete notifyd's commands and options."""
    from notifyd.cli.completion import completion

    completion(shell.value)


@app.command()
def man(ctx: typer.Context) -> None:
    """Print the manual page, as `man -l` reads it."""
    from notifyd.cli.man_page import man_page

    man_page(ctx.find_root().command)


service = typer.Typer(
    name="service", no_args_is_help=True, help="Install notifyd as a systemd service, or remove that."
)
app.add_typer(service)

Root = Annotated[Path, typer.Option(metavar="FOLDER", help="Write beneath this folder, as for an image.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]


@service.command("install")
def install_service(root: Root = Path("/"), dry_run: DryRun = False) -> None:
    """Write the unit for the way in which notifyd was installed here, and say what to do next."""
    from notifyd.cli.service import install

    install(root, dry_run=dry_run)


@service.command("uninstall")
def uninstall_service(root: Root = Path("/"), dry_run: DryRun = False) -> None:
    """Remove what `notifyd service install` wrote."""
    from notifyd.cli.service import uninstall

    uninstall(root, dry_run=dry_run)
