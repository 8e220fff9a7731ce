"""The channel that runs a program: what the program is given, and what its end means. Real programs, real signals."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from notifyd.api import Reject, Retry
from notifyd_plugins.command import CommandChannel, CommandOptions
from tests.sinks.context import TestContext, a_notification, an_event


async def run(script: str, notification: Any = None, **options: Any) -> None:
    """Run the lines of a shell script."""
    notification = notification or a_notification()
    channel = CommandChannel(CommandOptions.model_validate({"command": ["/bin/sh", "-c", script], **options}))
    await channel.send(notification, TestContext(notification))


async def test_the_notification_comes_on_standard_input(tmp_path: Path):
    notification = a_notification(an_event(message="ä\n" * 50_000))
    await run(f"cat > {tmp_path}/in", notification)
    assert json.loads((tmp_path / "in").read_bytes()) == notification.as_json()


async def test_its_environment_holds_what_it_needs_and_no_more(tmp_path: Path):
    await run(f"env > {tmp_path}/env", env={"PAGER_TOKEN": "s3cret"})
    lines = dict(line.partition("=")[::2] for line in (tmp_path / "env").read_text().splitlines())
    assert lines["NOTIFYD_TITLE"] == "Sync Error: quickbooks - orders"
    assert lines["NOTIFYD_SEVERITY"] == "error"
    assert lines["NOTIFYD_DELIVERY_ID"]
    assert lines["PAGER_TOKEN"] == "s3cret"
    shells_own = {"PWD", "SHLVL", "_", "OLDPWD"}
    assert {name for name in lines if not name.startswith("NOTIFYD_")} - shells_own <= {"PATH", "LANG", "PAGER_TOKEN"}


@pytest.mark.parametrize("code", [64, 65, 70, 78])
async def test_exit_codes_of_sysexits_are_final(code: int):
    with pytest.raises(Reject, match=f"^exit code {code}: no such person$"):
        await run(f"echo debugging >&2; echo 'no such person' >&2; echo >&2; exit {code}")


@pytest.mark.parametrize("code", [1, 2, 63, 75, 79, 126, 127])
async def test_other_exit_codes_are_tried_again(code: int):
    with pytest.raises(Retry, match=f"^exit code {code}$"):
        await run(f"exit {code}")


async def test_a_signal_is_tried_again():
    with pytest.raises(Retry, match="ended by signal 11"):
        await run("kill -SEGV $$")


async def test_a_program_that_is_not_there_is_refused(tmp_path: Path):
    notification = a_notification()
    for path, why in ((tmp_path / "gone", "No such file"), (tmp_path, "Permission denied")):
        channel = CommandChannel(CommandOptions(command=[str(path)]))
        with pytest.raises(Reject, match=f"cannot run {path}: {why}"):
            await channel.send(notification, TestContext(notification))


async def test_a_program_that_reads_nothing_and_talks_much_is_no_deadlock():
    notification = a_notification(an_event(message="x" * 500_000))
    with pytest.raises(Retry, match="exit code 1: the end"):
        await asyncio.wait_for(
            run("head -c 3000000 /dev/zero >&2; echo >&2; echo 'the end' >&2; exit 1", notification), 10
        )


async def test_when_the_time_is_up_nothing_of_it_stays(tmp_path: Path):
    script = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run(script), 0.5)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "the child of the program still runs"
        await asyncio.sleep(0.01)


async def test_a_child_that_keeps_the_pipe_open_does_not_hold_it_up():
    await asyncio.wait_for(run("sleep 60 >/dev/null & exit 0"), 5)


async def test_its_secrets_are_not_in_the_reason():
    with pytest.raises(Retry) as caught:
        await run('echo "login failed with $PAGER_TOKEN" >&2; exit 1', env={"PAGER_TOKEN": "s3cret"})
    assert str(caught.value) == "exit code 1: login failed with <secret>"


@pytest.mark.parametrize("command", [[], ["page-someone"], "echo hi"])
def test_a_command_begins_with_an_absolute_path(command: Any):
    with pytest.raises(ValidationError, match="command"):
        CommandOptions.model_validate({"command": command})
    with pytest.raises(ValidationError):
        CommandOptions.model_validate({"command": ["/bin/true"], "env": {"A=B": "x"}})


def test_it_is_not_for_the_api():
    assert CommandChannel.api_allowed is False
