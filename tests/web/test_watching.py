"""What is offered to who watches notifyd: the alert rules and the dashboard, against the metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import ProcessCollector

from notifyd.observe.metrics import CATALOGUE

SYSTEMD = Path(__file__).parents[2] / "systemd"
RULES, DASHBOARD = SYSTEMD / "notifyd.rules.yml", SYSTEMD / "grafana-dashboard.json"
PROMTOOL = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here (Debian: prometheus)")

ON_EACH = {"job", "instance"}
"""Labels that Prometheus adds to whatever it scrapes."""


def queries(file: Path) -> Iterator[tuple[str, str]]:
    """Each query of the file, and the words that are shown with what it answers."""
    if file == RULES:
        yield from re.findall(r"expr: (.*?)\n +(?:for|labels): (.*?)(?=- alert:|\Z)", file.read_text(), re.DOTALL)
        return
    board = json.loads(file.read_text())
    for panel in board["panels"]:
        yield from ((target["expr"], target["legendFormat"]) for target in panel.get("targets", []))
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            ((metric, label),) = re.findall(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            yield metric, f"{{{{{label}}}}}"


def known() -> dict[str, set[str]]:
    """Each metric as it is asked for, with its labels."""
    names: dict[str, set[str]] = {"up": set()}
    for metric in CATALOGUE:
        if metric.kind == "histogram":
            names |= {f"{metric.name}_{part}": {*metric.labels} for part in ("sum", "count")}
            names[f"{metric.name}_bucket"] = {*metric.labels, "le"}
        else:
            names[metric.name] = {*metric.labels}
    for family in ProcessCollector(registry=None).collect():
        names |= {sample.name: set() for sample in family.samples}
    return {name: labels | ON_EACH for name, labels in names.items()}


def mistakes(query: str, words: str) -> list[str]:
    """The names and labels in them that there are not."""
    there, found, labels = known(), [], set[str]()
    for name, selected in re.findall(
        r"\b(up|(?:notifyd|process)_\w+)\b(?:\{([^}]*)\})?", re.sub(r'"[^"]*"', '""', query)
    ):
        labels |= there.get(name, set())
        found += [] if name in there else [name]
        found += [f"{name}: {label}" for label in set(re.findall(r"(\w+)\s*[=!]", selected)) - there.get(name, set())]
    groups = [set(re.findall(r"\w+", names)) for names in re.findall(r"\bby\s*\(([^)]*)\)", query)]
    found += [f"by: {label}" for group in groups for label in group - labels]
    shown = set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)", words))
    return found + [f"shown: {label}" for label in shown - (set.union(*groups) if groups else labels)]


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=["rules", "dashboard"])
def test_they_ask_for_what_there_is(file: Path) -> None:
    asked = list(queries(file))
    assert len(asked) >= 11
    assert {query: wrong for query, words in asked if (wrong := mistakes(query, words))} == {}


@pytest.mark.parametrize(
    ("query", "words", "wrong"),
    [
        ("notifyd_breaker_opened == 1", "", "notifyd_breaker_opened"),
        ('notifyd_breaker_open{source="a"}', "", "notifyd_breaker_open: source"),
        ("sum by (outcome) (rate(notifyd_attempts_total[5m]))", "", "by: outcome"),
        ("sum by (config) (rate(notifyd_attempts_total[5m]))", "{{result}}", "shown: result"),
        ("notifyd_attempt_duration_seconds", "", "notifyd_attempt_duration_seconds"),
        ("notifyd_turn_ok == 0", "The part {{ $labels.name }}", "shown: name"),
    ],
)
def test_a_mistake_in_a_query_is_seen(query: str, words: str, wrong: str) -> None:
    assert mistakes(query, words) == [wrong]


def test_the_dashboard_shows_every_metric_and_asks_the_source_that_one_chooses() -> None:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    asked = {name for query, _ in queries(DASHBOARD) for name in re.findall(r"\bnotifyd_\w+", query)}
    assert {metric.name for metric in CATALOGUE} == {name.removesuffix("_bucket") for name in asked}
    sources = [each["datasource"]["uid"] for each in board["panels"] if each["type"] != "row"]
    assert {*sources} == {"${datasource}"}
    assert board["templating"]["list"][0]["name"] == "datasource"
    assert len({each["id"] for each in board["panels"]}) == len(board["panels"])


@PROMTOOL
def test_promtool_takes_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@PROMTOOL
def test_promtool_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    filled = [re.sub(r"\$__\w+", "5m", query) for query, _ in queries(DASHBOARD)]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(filled)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@PROMTOOL
def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    """promtool plays series to them: each alert fires on what is wrong, and none on a daemon that is well."""
    for file in (RULES, Path(__file__).with_name("notifyd.rules.test.yml")):
        shutil.copy(file, tmp_path)
    done = subprocess.run(
        ["promtool", "test", "rules", "notifyd.rules.test.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
