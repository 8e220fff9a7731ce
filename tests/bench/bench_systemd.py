"""The life of the unit under a real systemd, first process of namespaces of its own, and that of Debian's package.

From its installation, as systemd/README.md has it, to the first alert, a reload that is refused and one that is not, a
hang that the watchdog ends, an upgrade, and its end. Figures are seconds, by step. Needs root, and a Debian.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.report import Report, main
from tests.bench.suite import report

PROOFS = {
    "installed, told, reloaded, killed by the watchdog, upgraded and uninstalled under systemd": [
        "tests/system/test_systemd.py"
    ],
    "the package: built, installed, told, upgraded, removed, and purged with nothing left": [
        "tests/system/test_deb.py"
    ],
    "systemd finds nothing wrong with the unit, and little exposed": ["tests/meta/test_unit.py"],
}


async def measure(seed: int) -> Report:
    return await asyncio.to_thread(report, PROOFS)


if __name__ == "__main__":
    asyncio.run(main("systemd", measure))
