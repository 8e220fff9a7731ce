"""A machine with a real systemd as its first process, in namespaces of its own, on a copy of this one.

with Machine.booted(stage, scratch) as machine:
    machine.run("systemctl", "start", "notifyd")
    machine.path("/var/lib/notifyd")        # as it is seen from here
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

SCRIPT = Path(__file__).with_name("machine.sh")
SYSTEMD = Path("/lib/systemd/systemd")

_UNSHARE = ("unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child")
_CGROUPS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")


def why_not() -> str:
    """What keeps such a machine from being made here; empty where nothing does."""
    if os.geteuid() != 0:
        return "only root may make namespaces"
    if not SYSTEMD.exists() or not shutil.which("nsenter"):
        return "there is no systemd here"
    probe = subprocess.run([*_UNSHARE, "true"], check=False, capture_output=True)
    return "" if probe.returncode == 0 else "no namespaces can be made here"


class Machine:
    """See the module's docstring. `first` is its first process, as it is numbered here."""

    def __init__(self, first: int) -> None:
        self.first = first

    @classmethod
    @contextmanager
    def booted(cls, stage: Path, scratch: Path) -> Iterator[Self]:
        """A machine that has everything that this one has, and opt/notifyd and srv out of `stage`."""
        scratch.mkdir(exist_ok=True)
        group = _new_group()
        outer = subprocess.Popen(
            [*_UNSHARE, "sh", SCRIPT, scratch, stage, sys.base_prefix],
            preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())) and None,
        )
        try:
            machine = cls(_child_of(outer.pid))
            machine.until("systemctl", "is-active", "basic.target")
            yield machine
        finally:
            outer.kill()
            outer.wait()
            _remove_group(group)

    def path(self, inside: str) -> Path:
        """A file of the machine."""
        return Path(f"/proc/{self.first}/root{inside}")

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command there, as root."""
        enter = f"nsenter -t {self.first} -m -p -u -i -C --root=/proc/{self.first}/root --wd=/".split()
        environ = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        return subprocess.run([*enter, *command], capture_output=True, text=True, check=False, env=environ, timeout=120)

    def run(self, *command: str) -> str:
        """What the command printed; its failure is the test's, with the journal."""
        done = self.ask(*command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{self.journal()}"
        return done.stdout

    def journal(self, *options: str) -> str:
        """What the service has logged."""
        return self.ask("journalctl", "-u", "notifyd", "--no-pager", *options).stdout

    def until(self, *command: str, says: str = "", timeout: float = 60) -> str:
        """What the command printed, once it ends well and says that."""
        deadline = time.monotonic() + timeout
        while (done := self.ask(*command)).returncode != 0 or says not in done.stdout:
            assert time.monotonic() < deadline, f"{command}: {done.stdout}{done.stderr}\n{self.journal()}"
            time.sleep(0.2)
        return done.stdout

    def about(self, key: str) -> str:
        """A property of the service."""
        return self.run("systemctl", "show", "--property", key, "--value", "notifyd").strip()


def _new_group() -> Path:
    """A control group of its own, in the unified hierarchy."""
    base = next(Path(folder) for folder in _CGROUPS if Path(folder, "cgroup.controllers").exists())
    group = base / f"notifyd-test-{os.getpid()}"
    group.mkdir(exist_ok=True)
    return group


def _remove_group(group: Path) -> None:
    for _ in range(50):
        for folder in sorted(group.rglob("*"), reverse=True):
            if folder.is_dir():
                _rmdir(folder)
        if _rmdir(group):
            return
        time.sleep(0.1)


def _rmdir(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _child_of(pid: int) -> int:
    """The first process of the machine, once it is systemd."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for _ in range(200):
        for child in children.read_text().split():
            if Path(f"/proc/{child}/exe").resolve().name == "systemd":
                return int(child)
        time.sleep(0.05)
    raise AssertionError("systemd did not start")
