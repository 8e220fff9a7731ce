"""Debian's package, on a machine with a real systemd: installed, upgraded, removed and purged."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import notifyd
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.machine import Machine, why_not
from tests.system.test_systemd import SETTINGS

ROOT = Path(__file__).parents[2]
WHY_NOT = "" if shutil.which("dpkg-deb") else "there is no dpkg here"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("CI"), reason="building it takes the better part of a minute; CI has it"),
    pytest.mark.skipif(bool(WHY_NOT or why_not()), reason=WHY_NOT or why_not()),
]

OTHERS = ("/var/lib/dpkg/", "/var/log/", "/var/lib/systemd/", "/var/tmp/systemd-private-")
"""What belongs to dpkg and systemd."""


def run(*command: str | Path) -> str:
    done = subprocess.run(["nice", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """The folder that is the machine's /srv, with the package in it, and one that calls itself newer."""
    stage = tmp_path / "stage"
    (stage / "opt" / "notifyd").mkdir(parents=True)
    (stage / "srv").mkdir()
    Path(run("sh", ROOT / "systemd" / "deb" / "build", tmp_path)).rename(stage / "srv" / "notifyd.deb")
    run("dpkg-deb", "-R", stage / "srv" / "notifyd.deb", tmp_path / "newer")
    control = tmp_path / "newer" / "DEBIAN" / "control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 9."))
    run("dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "-b", tmp_path / "newer", stage / "srv" / "newer.deb")
    return stage


@pytest.fixture
def machine(stage: Path, tmp_path: Path) -> Iterator[Machine]:
    with Machine.booted(stage, tmp_path / "scratch") as machine:
        yield machine


def files(machine: Machine) -> set[str]:
    """Every file of the system but those of dpkg and systemd."""
    found = machine.run("find", "/etc", "/usr", "/var").splitlines()
    return {path for path in found if not path.startswith(OTHERS)}


@pytest.mark.timeout(300)
async def test_from_install_to_upgrade_to_purge(
    machine: Machine, stage: Path, sink: HttpSink, step: Callable[[str], None]
) -> None:
    before = files(machine)
    accounts = machine.path("/etc/passwd").read_text(), machine.path("/etc/group").read_text()

    # -- installed: everything is in its place, nothing runs, and it says what is next
    said = machine.run("dpkg", "-i", "/srv/notifyd.deb")
    assert "runuser -u notifyd -- notifyd check" in said
    assert machine.run("notifyd", "--version") == f"notifyd {notifyd.__version__}\n"
    assert machine.ask("systemctl", "is-enabled", "notifyd").stdout == "disabled\n"
    assert machine.about("ActiveState") == "inactive"
    owners = {"/etc/notifyd": "750 root:notifyd", "/etc/notifyd/notifyd.toml": "640 root:notifyd"}
    for path, owner in (owners | {"/etc/notifyd/credentials": "700 root:root"}).items():
        assert machine.run("stat", "-c", "%a %U:%G", path).strip() == owner
    assert "is right" in machine.run("runuser", "-u", "notifyd", "--", "notifyd", "check")
    assert "there is nothing to write" in machine.run("notifyd", "service", "install")
    listed = machine.run("dpkg", "-L", "notifyd").split()
    for path in ("man/man1/notifyd.1.gz", "bash-completion/completions/notifyd", "zsh/vendor-completions/_notifyd"):
        assert f"/usr/share/{path}" in listed
    assert machine.ask("grep", "-rlF", "/tree/usr/lib/notifyd", "/usr/lib/notifyd").stdout == ""  # where it was built
    step("installed")

    # -- it tells, as a service
    log = JobLog(stage / "srv" / "jobs.db")
    (stage / "srv" / "jobs.db").chmod(stat.S_IRUSR | stat.S_IROTH)
    settings = SETTINGS.replace("/srv/jobs/jobs.db", "/srv/jobs.db")
    machine.path("/etc/notifyd/notifyd.toml").write_text(settings)
    machine.path("/etc/notifyd/credentials/hook").write_text(f"{sink.url}/hook\n")
    machine.run("systemctl", "enable", "--now", "notifyd")
    log.add("error", "no such order", job="a")
    assert (await sink.wait_for(1))[0].json()["message"] == "no such order"
    step("told of the first error")

    # -- upgraded: what ran runs again, the new one, with the settings as they were
    pid = machine.about("MainPID")
    machine.run("dpkg", "-i", "/srv/newer.deb")
    assert machine.about("ActiveState") == "active"
    assert machine.about("MainPID") != pid
    assert machine.path("/etc/notifyd/notifyd.toml").read_text() == settings
    log.add("error", "after the upgrade", job="b")
    assert (await sink.wait_for(2))[1].json()["message"] == "after the upgrade"
    log.close()
    step("upgraded")

    # -- removed: the program is gone, settings and state are there
    machine.run("dpkg", "-r", "notifyd")
    assert machine.about("LoadState") == "not-found"
    assert machine.about("ActiveState") == "inactive"
    left = {path for path in files(machine) - before if "notifyd" in path}
    assert {path for path in left if not path.startswith(("/etc/notifyd", "/var/lib/notifyd"))} == set()
    assert {"/etc/notifyd/notifyd.toml", "/etc/notifyd/credentials/hook", "/var/lib/notifyd/notifyd.db"} <= left
    step("removed")

    # -- purged: nothing is left
    machine.run("dpkg", "-P", "notifyd")
    assert files(machine) - before == set()
    assert (machine.path("/etc/passwd").read_text(), machine.path("/etc/group").read_text()) == accounts
    step("purged")
