"""Runs tests as benches do: what each proves is a claim, what it took a figure.

    report({"the state DB is corrupted": ["tests/system/test_faults.py::test_a_corrupted_…"]})

As in CI, where nothing is left out for taking long; a test that was skipped all the same proves nothing, and its claim
does not hold. A test says how long its steps took by `step` (tests/system/conftest.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, parse

from tests.bench.report import ROOT, Report, say


@dataclass(frozen=True)
class Outcome:
    """What became of one test. `steps` are the seconds of its parts, by name; `why` is empty where it passed."""

    name: str
    seconds: float
    steps: dict[str, float]
    why: str


def report(proofs: dict[str, list[str]]) -> Report:
    """Run the tests of each claim, by their names for pytest."""
    said = Report(notes=["the tests draw nothing at random: the seed changes nothing"])
    for claim, tests in proofs.items():
        outcomes = run(tests)
        said.claims[claim] = bool(outcomes) and not any(outcome.why for outcome in outcomes)
        said.figures[claim] = {outcome.name: outcome.steps or outcome.seconds for outcome in outcomes}
        said.notes += [f"{outcome.name}: {outcome.why}" for outcome in outcomes if outcome.why]
        say(f"{'✓' if said.claims[claim] else '✗'} {claim}, after {sum(each.seconds for each in outcomes):.1f} s")
    return said


def run(tests: list[str]) -> list[Outcome]:
    """What became of each; nothing where pytest could not run one of them."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={results}", *tests]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"CI": "true"}, capture_output=True, text=True, check=False
        )
        if done.returncode not in (0, 1):
            say(done.stdout + done.stderr)
            return []
        if done.returncode:
            say(done.stdout)
        return list(_outcomes(results))


def _outcomes(results: Path) -> Iterator[Outcome]:
    for case in parse(results).iter("testcase"):
        steps = {each.attrib["name"]: float(each.attrib["value"]) for each in case.iter("property")}
        yield Outcome(case.attrib["name"], round(float(case.attrib["time"]), 2), steps, _why(case))


def _why(case: Element) -> str:
    for kind in ("failure", "error", "skipped"):
        if (found := case.find(kind)) is not None:
            return f"{kind}: {found.get('message', '')}"[:300]
    return ""
