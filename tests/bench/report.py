"""What a bench says in the end: its figures, the claims that they bear out or not, and a result file to commit.

    asyncio.run(main("kill", measure))      # in bench_kill.py; `measure` is async, seed → Report

`--seed N` repeats a run, `--write` keeps it in results/NAME.json. Exit status 1: a claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SEED = 20261124
MEASURED = ("notifyd", "plugins", "config", "systemd", "tests", "pyproject.toml", ":!tests/bench/results", ":!*.md")
"""What a result depends on: the tests and benches too."""


@dataclass
class Report:
    """`figures` by name; `claims`, what they should bear out, and whether they do."""

    figures: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, bool] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


async def main(name: str, measure: Callable[[int], Awaitable[Report]]) -> None:
    """Measure, print, keep if asked to, and exit."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--write", action="store_true", help=f"keep the figures in results/{name}.json")
    arguments = parser.parse_args()
    say(f"{name}: seed {arguments.seed}, {os.cpu_count()} cores, Python {platform.python_version()}")
    report = await measure(arguments.seed)
    _print(report)
    if arguments.write:
        _write(name, arguments.seed, report)
    sys.exit(not all(report.claims.values()))


def say(text: str) -> None:
    """A line of progress."""
    print(text, flush=True)


def middle(values: list[float], digits: int = 3) -> float:
    """The median."""
    return round(median(values), digits)


def _print(report: Report) -> None:
    for name, value in report.figures.items():
        text = json.dumps(value, ensure_ascii=False)
        say(f"  {name:<44} {text if len(text) <= 200 else f'{text[:199]}…'}")
    for note in report.notes:
        say(f"  note: {note}")
    for claim, holds in report.claims.items():
        say(f"{'✓' if holds else '✗'} {claim}")


def _write(name: str, seed: int, report: Report) -> None:
    result = {
        "bench": name,
        "command": f"python tests/bench/bench_{name}.py --seed {seed} --write",
        "seed": seed,
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "figures": report.figures,
        "claims": report.claims,
        "notes": report.notes,
    }
    file = HERE / "results" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    say(f"kept in {file.relative_to(ROOT)}")


def _commit() -> str:
    """The commit that was measured, and whether the files have changed since."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", *MEASURED)
    return f"{commit}, with changes" if changed else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or ("" if done.returncode == 0 else "unknown")
