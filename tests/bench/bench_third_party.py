"""Somebody else's plugin on its whole way, in a fresh virtualenv that has notifyd's wheel and what that needs.

notifyd is built as a wheel and installed with its dependencies by pip. Then the way of tests/system/third_party.py: the
plugin is begun by `notifyd plugin new`, built, installed, found, checked, delivers through a running daemon, and is
uninstalled, whereupon `notifyd check` says which config misses it. Figures are seconds.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.report import Report, main, say
from tests.system.third_party import Journey

ROOT = Path(__file__).parents[2]
NOT_SOURCE = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "*.egg-info", "build", "dist", "tests")


async def measure(seed: int) -> Report:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.monotonic()
        python = fresh(folder / "venv", folder / "dist")
        say(f"notifyd's wheel is installed in a fresh virtualenv, after {time.monotonic() - began:.0f} s")
        (folder / "work").mkdir()
        journey = Journey(python, folder / "work")
        try:
            journey.travel()
        except AssertionError as error:
            return Report(dict(journey.seconds), {"it goes all its way": False}, [str(error)[:500]])
    claim = "begun, built, installed, found, checked, delivering, uninstalled, and then missed by name"
    return Report(dict(journey.seconds), {claim: True}, ["the virtualenv sees nothing of this tree"])


def fresh(home: Path, dist: Path) -> Path:
    """The interpreter of a new virtualenv with notifyd's wheel in it."""
    source = dist.with_name("source")
    shutil.copytree(ROOT, source, symlinks=True, ignore=NOT_SOURCE)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = dist.glob("notifyd-*.whl")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return python


if __name__ == "__main__":
    asyncio.run(main("third_party", measure))
