"""The command as a whole: options, exit codes, and an end that is never a traceback."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from notifyd import __version__
from notifyd.cli.app import app
from notifyd.model import Outcome, Result
from tests.cli.conftest import Notifyd, Past, aside, from_beginning, hook, invoke
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.process import Process
from tests.system.site import Site, until, webhook

COMMANDS = [
    "run",
    "init",
    "check",
    "reload",
    "status",
    "why",
    "test",
    "history",
    "deliveries",
    "retry",
    "sources",
    "plugins",
    "doctor",
    "backup",
    "restore",
    "vacuum",
    "completion",
]
LISTINGS = [["status"], ["why", "1"], ["history"], ["deliveries"], ["sources"], ["retry", "--state", "dead"]]


def subprocess_of(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "notifyd", *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, **environ},
    )


def test_version() -> None:
    done = subprocess_of("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"notifyd {__version__}\n", "")


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_every_command_and_the_demo(option: str) -> None:
    answer = invoke(option)
    assert answer.exit_code == 0
    registered = [command.name or command.callback.__name__ for command in app.registered_commands]
    registered += [str(group.typer_instance.info.name) for group in app.registered_groups if group.typer_instance]
    assert {*COMMANDS, "demo"} <= set(registered)
    for command in [*COMMANDS, "demo"]:
        assert f" {command} " in answer.stdout
        assert invoke(command, option).exit_code == 0


@pytest.mark.parametrize(
    "arguments", [[], ["foo"], ["why"], ["status", "--nope"], ["test"], ["history", "--severity", "x"]]
)
def test_wrong_use_is_exit_2(arguments: list[str]) -> None:
    answer = invoke(*arguments)
    assert answer.exit_code == 2
    assert "Traceback" not in answer.stderr


def where(*arguments: str, **environ: str) -> str:
    """The settings file that a command looked for, and did not find."""
    answer = invoke(*arguments, **environ)
    assert answer.exit_code == 2
    assert answer.stderr.count("\n") == 1
    return answer.stderr.partition(": there is no such file")[0]


def test_which_settings_file() -> None:
    """After the command, before it, in the environment, by default: the first that is given."""
    assert where("status", "--config", "/after") == "/after"
    assert where("--config", "/before", "status") == "/before"
    assert where("-c", "/before", "status", "-c", "/after") == "/after"
    assert where("status", NOTIFYD_CONFIG="/environment") == "/environment"
    assert where("--config", "/before", "status", NOTIFYD_CONFIG="/environment") == "/before"
    assert where("status", "--config", "/after", NOTIFYD_CONFIG="/environment") == "/after"
    for order in (["sources", "-c", "/there", "rewind"], ["sources", "rewind", "-c", "/there"]):
        assert where(*order, "shop", "--to", "now", NOTIFYD_CONFIG="/environment") == "/there"
    assert where("status", NOTIFYD_CONFIG="") == "/etc/notifyd/notifyd.toml"


@pytest.mark.parametrize("command", [["run"], ["check"], ["test", "x"]])
def test_settings_that_are_wrong_are_exit_2(site: Site, notifyd: Notifyd, command: list[str]) -> None:
    site.file.write_text('[daemon]\nlog_level = "loud"\nretention = 90\n')
    answer = notifyd(*command)
    assert (answer.exit_code, answer.stdout) == (2, "")
    first, second = answer.stderr.splitlines()
    assert first.startswith(f"{site.file}:2: daemon.log_level: ")
    assert second.startswith(f"{site.file}:3: daemon.retention: ")


# -- beside a settings file with a mistake -----------------------------------------------------------


@pytest.fixture
def lived(site: Site, jobs: JobLog, past: Past) -> str:
    """A settings file that a daemon has run on; another row has failed since."""
    jobs.add("error", "no such order")
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    past.attempt(Outcome(Result.REJECTED, "410 Gone", 410))
    return site.file.read_text()


MISTAKES = [
    ('[http]\nlisten = ""', '[http]\nlisten = "nowhere"', "http.listen: "),
    ('[http]\nlisten = ""', "[http]\nlisten = oops", "this is not TOML: "),
    ('[http]\nlisten = ""', "[http]\nlisten = [1,", "this is not TOML: "),
    ('[http]\nlisten = ""', "[http", "this is not TOML: "),
    ('name = "hook"', 'name = "hook"\nname = "twice"', "this is not TOML: "),
    ('notification_type = "webhook"', 'notification_type = "webhok"', 'notifications["hook"].notification_type: '),
    ("[daemon]", '[daemon]\nretention = "soon"', "daemon.retention: "),
    ("[daemon]", "[deamon]\n[daemon]", "deamon: unknown key"),
]


@pytest.mark.parametrize("command", [*LISTINGS, ["token", "list"]])
def test_a_mistake_in_the_settings_keeps_nobody_from_looking(
    site: Site, lived: str, notifyd: Notifyd, command: list[str]
) -> None:
    right, wrong, said = MISTAKES[1]
    notifyd(*command)
    before = notifyd(*command).stdout.splitlines()  # of the second, as a retry is only made once
    site.file.write_text(lived.replace(right, wrong))
    answer = notifyd(*command)
    assert answer.exit_code == 0
    assert answer.stdout.splitlines()[:1] == before[:1]
    assert len(answer.stdout.splitlines()) == len(before)
    assert answer.stderr.startswith(f"{site.file}:")
    assert said in answer.stderr
    assert answer.stderr.endswith("; this is shown without it\n")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize(("right", "wrong", "said"), MISTAKES)
def test_whatever_the_mistake_what_is_right_counts(
    site: Site, lived: str, notifyd: Notifyd, right: str, wrong: str, said: str
) -> None:
    """The row is looked up at its source, which stands below the mistake or above it."""
    assert right in lived
    site.file.write_text(lived.replace(right, wrong))
    answer = notifyd("why", "1")
    assert answer.exit_code == 0
    assert said in answer.stderr
    assert "Row 1 of source jobs: failure" in answer.stdout
    assert "410 Gone" in answer.stdout


@pytest.mark.parametrize("wrong", ["state = 7", 'state = "postgresql://x/y"', "state = oops", 'state = "'])
def test_a_mistake_in_where_the_state_is_is_exit_2(site: Site, lived: str, notifyd: Notifyd, wrong: str) -> None:
    """Any other state DB would be the wrong one."""
    right = f'state = "sqlite:///{site.state}"'
    assert right in lived
    site.file.write_text(lived.replace(right, wrong))
    answer = notifyd("status")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert f"{site.file}:2" in answer.stderr


def test_several_mistakes_are_one_line(site: Site, lived: str, notifyd: Notifyd) -> None:
    site.file.write_text(lived.replace("[daemon]", '[daemon]\nretention = 7\nlog_level = "loud"\nx = 1'))
    answer = notifyd("history")
    assert answer.stderr.count("\n") == 1
    assert " (and 2 more problems: see `notifyd check`); this is shown without it" in answer.stderr


@pytest.mark.parametrize("command", [["history"], ["deliveries"], ["retry", "--state", "dead"]])
def test_a_config_that_there_never_was_is_said(site: Site, lived: str, notifyd: Notifyd, command: list[str]) -> None:
    answer = notifyd(*command, "--config-name", "hok")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert answer.stderr == '--config-name: no notification config is called "hok"; did you mean "hook"?\n'
    site.write(sources=[], notifications=[hook("fresh")])
    for name in ("hook", "fresh"):  # gone from the file, and not known to a daemon yet
        assert notifyd(*command, "--config-name", name).exit_code == 0


@pytest.mark.parametrize("command", [["test", "hook"], *LISTINGS])
@pytest.mark.parametrize("content", [b"", b"this is no database, whatever its name may say"])
def test_a_state_db_that_is_none(site: Site, notifyd: Notifyd, command: list[str], content: bytes) -> None:
    site.write(sources=[], notifications=[hook("hook")])
    site.state.write_bytes(content)
    answer = notifyd(*command)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith(f"the state DB {site.state} ")
    assert answer.stderr.count("\n") == 1


def test_a_state_db_of_another_kind(site: Site, notifyd: Notifyd) -> None:
    site.write(sources=[], notifications=[], daemon={"state": "postgresql://localhost/notifyd"})
    answer = notifyd("status")
    assert answer.exit_code == 2
    assert answer.stderr.startswith(f"{site.file}:")
    assert "daemon.state: " in answer.stderr
    assert answer.stderr.count("\n") == 1


NO_TEXT = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize(
    "command",
    [
        ["history", "--config-name", NO_TEXT],
        ["history", "--connector", NO_TEXT],
        ["why", NO_TEXT],
        ["retry", NO_TEXT],
        ["token", "revoke", NO_TEXT],
    ],
)
def test_what_is_no_text_is_wrong_use(site: Site, lived: str, notifyd: Notifyd, command: list[str]) -> None:
    answer = notifyd(*command)
    assert answer.exit_code in (1, 2)
    assert len(answer.stderr.splitlines()) == 1
    assert r"caf\udce9" in answer.stderr


@pytest.mark.parametrize("place", [2**63, -(2**70), 0])
@pytest.mark.parametrize("command", ["history", "deliveries"])
def test_what_is_no_place_in_a_listing_is_wrong_use(
    site: Site, lived: str, notifyd: Notifyd, command: str, place: int
) -> None:
    answer = notifyd(command, "--before", str(place))
    assert answer.exit_code == 2
    assert "is no place in a listing" in answer.stderr


@pytest.mark.parametrize("command", [["why", "-5"], ["retry", "-5x"], ["token", "revoke", "-x"]], ids=" ".join)
def test_what_looks_like_an_option_is_told_how_to_be_none(command: list[str]) -> None:
    answer = invoke(*command)
    assert answer.exit_code == 2
    assert 'write "--" before what begins with a dash' in " ".join(answer.stderr.replace("│", " ").split())
    assert "begins with a dash" not in invoke("why", "--jsn", "5").stderr


@pytest.fixture
def long_history(site: Site, jobs: JobLog, past: Past) -> None:
    jobs.write([JobLog.row("error", "no " * 100, job=f"job {n}") for n in range(200)])
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()


@pytest.mark.usefixtures("long_history")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_pipe_that_closes_is_no_error(site: Site, options: list[str]) -> None:
    command = f"{sys.executable} -m notifyd deliveries --limit 200 -c {site.file} {' '.join(options)} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_a_locale_that_lacks_a_character_is_no_error(site: Site, jobs: JobLog, past: Past) -> None:
    jobs.add("error", "out of \N{HOT BEVERAGE}")
    site.write(sources=from_beginning(jobs.source("jobs")), notifications=[hook("hook")])
    past.poll()
    done = subprocess_of("why", "1", "--config", str(site.file), PYTHONIOENCODING="iso-8859-1", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "out of \\u2615" in done.stdout


def test_it_starts_light() -> None:
    """What is heavy is imported by the commands that need it."""
    heavy = {"peewee", "httpx", "fastapi", "uvicorn", "apscheduler", "jinja2", "notifyd.settings", "notifyd.daemon"}
    code = f"import sys, notifyd.__main__; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


async def test_from_a_row_to_its_explanation(site: Site, jobs: JobLog) -> None:
    """End to end: the daemon as a process, and the commands beside it."""
    async with HttpSink() as sink:
        site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
        async with Process(site.file):
            key = jobs.add("error", "500: out of stock")
            (request,) = await sink.wait_for(1)
            await until(lambda: site.states("hook") == ["sent"])
            why = await aside("why", key, site=site)
            status = await aside("status", site=site)
            second = await asyncio.to_thread(subprocess_of, "run", "--config", str(site.file))
        stopped = await aside("status", site=site)
    assert why.exit_code == 0
    assert request.headers["webhook-id"] in why.stdout
    assert "500: out of stock" in why.stdout
    assert status.stdout.startswith("the daemon is running, process ")
    assert "The books balance" in status.stdout
    assert stopped.stdout.startswith("no daemon is running")
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == f"another notifyd runs on the state DB {site.state}; one daemon per state DB\n"


def test_a_wrong_choice_is_said_in_plain_words(notifyd: Notifyd) -> None:
    answer = notifyd("deliveries", "--state", "foo")
    assert answer.exit_code == 2
    assert "'foo' is not one of" in answer.stderr
    assert "Value error" not in answer.stderr
