"""The service under a real systemd, from its installation to its upgrade and its end."""

from __future__ import annotations

import asyncio
import os
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.installed import ROOT, build, install
from tests.system.machine import Machine
from tests.system.site import of_type

pytestmark = pytest.mark.skipif(not os.environ.get("CI"), reason="it boots a machine, for about a minute; CI has it")

NOTIFYD = "/opt/notifyd/bin/notifyd"

SETTINGS = """
[http]
listen = ""

[[sources]]
name = "jobs"
url = "sqlite:////srv/jobs/jobs.db"
table = "jobs"
poll = "200ms"
columns = { key = "id", status = "status", schedule_id = "job", message = "error", finished_at = "ended_at" }
statuses = { success = ["ok"], failure = ["error"] }

[[notifications]]
name = "hook"
notification_type = "webhook"
config = { url = { credential = "hook" } }
group = { window = "0s" }
"""

# A channel that hangs the event loop where it is told to
BAD = """
import time
from notifyd.api import Channel, Options, hookimpl

class Hang(Channel[Options]):
    name = "hang"
    Options = Options
    async def send(self, notification, ctx):
        time.sleep(600)

@hookimpl
def notifyd_channels():
    return [Hang]
"""


def guide(section: str) -> list[list[str]]:
    """The commands of a section of systemd/README.md, as root says them."""
    text = (ROOT / "systemd" / "README.md").read_text(encoding="utf-8")
    block = text.split(f"## {section}\n")[1].split("```sh\n")[1].split("```")[0]
    return [
        shlex.split(line.removeprefix("sudo ").replace("-u notifyd", "runuser -u notifyd --"))
        for line in block.splitlines()
    ]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    stage = tmp_path / "stage"
    (stage / "srv").mkdir(parents=True)
    install(build(tmp_path / "dist", tmp_path / "clone"), stage)
    with Machine.booted(stage, tmp_path / "scratch") as machine:
        yield machine


@pytest.mark.timeout(300)
async def test_from_install_to_alert_to_reload_to_watchdog_to_upgrade(
    machine: Machine, sink: HttpSink, tmp_path: Path, step: Callable[[str], None]
) -> None:
    # -- install
    said = [
        machine.run(*command)
        for command in guide("Install")
        if "/opt/notifyd" not in command[-1] and "pip" not in command[0]
    ]
    assert "wrote /etc/systemd/system/notifyd.service" in "".join(said)
    assert stat.S_IMODE(machine.path("/etc/notifyd/credentials").stat().st_mode) == 0o700
    step("installed")

    # -- settings, a secret, and a log that belongs to somebody else
    machine.run("groupadd", "jobs")
    machine.run("install", "-d", "-g", "jobs", "-m", "750", "/srv/jobs")
    machine.path("/etc/notifyd/notifyd.toml").write_text(SETTINGS)
    machine.path("/etc/notifyd/credentials/hook").write_text(f"{sink.url}/hook\n")
    machine.run("chmod", "600", "/etc/notifyd/credentials/hook")
    log = JobLog(tmp_path / "stage" / "srv" / "jobs" / "jobs.db")
    machine.run("chgrp", "-R", "jobs", "/srv/jobs")
    machine.run("chmod", "-R", "g+rX", "/srv/jobs")

    # -- it starts without that group, and says what is wrong
    machine.run("systemctl", "start", "notifyd")
    machine.until("systemctl", "status", "notifyd", says="1 source (1 failing)")
    assert machine.about("ActiveState") == "active"
    drop_in = machine.path("/etc/systemd/system/notifyd.service.d")
    drop_in.mkdir()
    (drop_in / "group.conf").write_text("[Service]\nSupplementaryGroups=jobs\nWatchdogSec=6s\nRestartSec=1s\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "notifyd")
    step("started beside a log that it may not read")

    # -- the first alert, and its line in the journal, by field
    machine.until("systemctl", "status", "notifyd", says="1 source, lag 0 s, 0 pending")
    log.add("error", "no such order", job="a")
    (alert,) = of_type("sync_error", await sink.wait_for(1))
    assert alert.json()["message"] == "no such order"
    delivery = alert.json()["notification"]["id"]
    assert "sent" in machine.until(
        "journalctl", f"NOTIFYD_DELIVERY={delivery}", "PRIORITY=6", "--no-pager", says="sent"
    )
    pid = machine.about("MainPID")
    step("told of the first error")

    # -- reload: a bad file fails, a good one is taken, and the process stays
    bad = SETTINGS.replace('name = "hook"', 'name = "hook"\nenabeld = true')
    machine.path("/etc/notifyd/notifyd.toml").write_text(bad)
    assert machine.ask("systemctl", "reload", "notifyd").returncode != 0
    assert "enabeld: unknown key" in machine.journal()
    assert "settings refused" in machine.about("StatusText")
    machine.path("/etc/notifyd/notifyd.toml").write_text(SETTINGS.replace('name = "hook"', 'name = "other"'))
    machine.run("usermod", "-aG", "jobs", "notifyd")
    said = [machine.run(*command) for command in guide("Change the settings")]
    assert '+ notifications["other"]' in said[1]
    assert "refused" not in machine.about("StatusText")
    log.add("error", "told by another", job="b")
    second = (await sink.wait_for(2))[1]
    assert second.json()["notification"]["config"] == "other"
    assert machine.about("MainPID") == pid
    step("reloaded, the bad settings refused")

    # -- what hangs is killed, comes back, and loses nothing
    plugins = machine.path("/etc/notifyd/plugins")
    plugins.mkdir()
    (plugins / "bad.py").write_text(BAD)
    hangs = '\n[[notifications]]\nname = "hang"\nnotification_type = "hang"\n'
    machine.path("/etc/notifyd/notifyd.toml").write_text(
        f'[daemon]\nplugins_dir = "/etc/notifyd/plugins"\n{SETTINGS}{hangs}'
    )
    machine.run("systemctl", "reload", "notifyd")
    log.add("error", "while it hangs", job="c")
    await _until(machine, "NRestarts", "1")
    machine.path("/etc/notifyd/notifyd.toml").write_text(SETTINGS)
    await _until(machine, "ActiveState", "active")
    assert "time.sleep" not in machine.journal("-p", "err")
    assert 'File "/etc/notifyd/plugins/bad.py", line 9 in send' in machine.journal()  # where it stood
    machine.run("systemctl", "restart", "notifyd")
    requests = await sink.wait_for(3, timeout=60)  # each time that it was killed counts as an attempt
    assert "while it hangs" in [request.json()["message"] for request in requests]
    step("killed by the watchdog, and back")

    # -- upgrade: stopped, changed, started; nothing is lost in between
    machine.run("systemctl", "stop", "notifyd")
    assert machine.about("Result") == "success"
    log.add("error", "during the upgrade", job="d")
    version = machine.path("/opt/notifyd/lib").glob("python*/site-packages/notifyd/__init__.py").__next__()
    version.write_text(version.read_text().replace('__version__ = "', '__version__ = "9.'))
    assert " 9." in machine.run(NOTIFYD, "--version")
    machine.run("systemctl", "start", "notifyd")
    requests = await sink.wait_for(4)
    assert "during the upgrade" in [request.json()["message"] for request in requests]
    log.close()
    status = machine.run("runuser", "-u", "notifyd", "--", NOTIFYD, "status")
    assert "The books balance" in status
    assert f"{sink.url}" not in machine.journal()  # the secret
    step("upgraded")

    # -- and away
    machine.run("systemctl", "stop", "notifyd")
    said = machine.run(NOTIFYD, "service", "uninstall")
    assert "removed /etc/systemd/system/notifyd.service" in said
    machine.run("systemctl", "daemon-reload")
    assert machine.about("LoadState") == "not-found"
    step("uninstalled")


async def _until(machine: Machine, key: str, value: str) -> None:
    async with asyncio.timeout(90):
        while machine.about(key) != value:
            await asyncio.sleep(0.3)
