"""notifyd installed from its wheel, at a place where a service can use it: /opt/notifyd beneath some root.

The interpreter is the one that runs the tests, to be bound at /opt/python; what the wheel needs is copied beside it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".*_cache", "*.egg-info", "build", "dist", ".hypothesis", "tests"
)
INTERPRETER = Path("/opt/python")
"""Where the installation expects Python to be."""


def build(out: Path, scratch: Path) -> Path:
    """The wheel, built from a copy of the tree that holds no leftovers."""
    shutil.copytree(ROOT, scratch, symlinks=True, ignore=NOT_SOURCE)
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(out), str(scratch)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("notifyd-*.whl")
    return wheel


def install(wheel: Path, root: Path) -> None:
    """Install it, with what it needs, as `python -m venv /opt/notifyd && /opt/notifyd/bin/pip install` would."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    home = root / "opt" / "notifyd"
    packages, commands = home / "lib" / version / "site-packages", home / "bin"
    packages.mkdir(parents=True)
    commands.mkdir()
    (home / "pyvenv.cfg").write_text(f"home = {INTERPRETER}/bin\ninclude-system-site-packages = false\n")
    (commands / "python").symlink_to(INTERPRETER / "bin" / version)
    command = commands / "notifyd"
    command.write_text("#!/opt/notifyd/bin/python\nfrom notifyd.__main__ import main\nmain()\n")
    command.chmod(0o755)
    for distribution in needed_by(wheel):
        copy(distribution, packages)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)


def needed_by(wheel: Path) -> list[metadata.Distribution]:
    """What the wheel requires, and what that requires in turn, as it is installed here."""
    [described] = metadata.distributions(path=[str(wheel)])
    found: dict[str, metadata.Distribution] = {}
    waiting, seen = list(requirements(described)), set()
    while waiting:
        requirement = waiting.pop()
        if (wanted := (requirement.name, *sorted(requirement.extras))) not in seen:
            seen.add(wanted)
            distribution = metadata.distribution(requirement.name)
            found[distribution.name] = distribution
            waiting += requirements(distribution, *requirement.extras)
    return list(found.values())


def requirements(distribution: metadata.Distribution, *extras: str) -> Iterator[Requirement]:
    """The requirements that apply on this machine, with these extras of the distribution."""
    for requirement in map(Requirement, distribution.requires or []):
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def parts(distribution: metadata.Distribution) -> dict[str, Path]:
    """The files and folders of a distribution in its site-packages, by name."""
    names = {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}
    return {name: Path(str(distribution.locate_file(name))) for name in names}


def copy(distribution: metadata.Distribution, packages: Path) -> None:
    for name, path in parts(distribution).items():
        if path.is_dir():
            shutil.copytree(path, packages / name, dirs_exist_ok=True)
        else:
            shutil.copy2(path, packages / name)
