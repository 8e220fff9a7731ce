"""/metrics: of a real daemon, in Prometheus' own judgement."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from notifyd.observe.metrics import CATALOGUE
from notifyd.store import tally
from notifyd.store.tokens import Permission
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.store.test_queries import scans
from tests.system.site import Site, until, webhook
from tests.web.conftest import Api, Serving, make_token

PROMTOOL = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here (Debian: prometheus)")

Samples = dict[tuple[str, ...], float]


async def scrape(api: Api) -> str:
    answer = await api.client.get("/metrics")
    assert answer.status_code == 200
    return answer.text


def samples(text: str) -> dict[str, Samples]:
    """Each metric: its values by those of its labels."""
    found: dict[str, Samples] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[
                tuple(sample.labels[name] for name in _labels(sample.name) if name in sample.labels)
            ] = sample.value
    return found


def _labels(name: str) -> tuple[str, ...]:
    """The labels of a metric in the order of the catalogue; the parser gives them by name."""
    known = [metric for metric in CATALOGUE if name.startswith(metric.name)]
    return (*known[0].labels, "le") if known else ()


@pytest.fixture
async def lived(api: Api, jobs: JobLog, sink: HttpSink) -> Api:
    """A daemon that has seen rows of several kinds, sent, and failed to send."""
    sink.script = [500, 410]
    jobs.write([jobs.row(status) for status in ("ok", "warning", "odd")])
    jobs.write([jobs.row("error", "no", job=f"job {n}") for n in range(3)])
    jobs.write([jobs.row("error", "no", job="daily") for _ in range(3)])
    await sink.wait_for(7)
    await until(lambda: not api.daemon.sender._settled and not api.daemon.sender._attempts)
    return api


async def test_what_it_says_is_so(lived: Api, site: Site) -> None:
    found = samples(await scrape(lived))
    assert found["notifyd_source_up"] == {("jobs",): 1}
    assert 0 <= found["notifyd_source_lag_seconds"]["jobs",] < 5
    rows = found["notifyd_rows_total"]
    assert (rows["jobs", "success"], rows["jobs", "failure"], rows["jobs", "unmapped"]) == (1, 6, 1)
    assert found["notifyd_streaks"] == {("jobs",): 1}
    events = dict(site.query("SELECT event_type || '/' || severity, COUNT(*) FROM events GROUP BY 1"))
    assert {"/".join(labels[1:]): number for labels, number in found["notifyd_events_total"].items()} == events
    results = dict(site.query("SELECT result, COUNT(*) FROM notification_history GROUP BY 1"))
    assert {labels[1]: number for labels, number in found["notifyd_attempts_total"].items()} == results
    ended = found["notifyd_deliveries_total"]
    assert ended["ops", "dead"] == 1
    assert ended["ops", "sent"] == site.states("ops").count("sent")
    assert found["notifyd_queue_deliveries"]["ops",] == site.states("ops").count("retrying") == 1
    assert found["notifyd_breaker_open"] == {("ops",): 0}
    assert 0 < found["notifyd_queue_age_seconds"]["ops",] < 10
    latency = found["notifyd_attempt_duration_seconds_bucket"]
    assert latency["ops", "+Inf"] == found["notifyd_attempt_duration_seconds_count"]["ops",] == sum(results.values())
    assert [*latency.values()] == sorted(latency.values())
    assert found["notifyd_state_db_bytes"][()] >= site.state.stat().st_size
    assert found["process_resident_memory_bytes"][()] > 1_000_000


async def test_what_the_books_count_survives_a_restart(lived: Api, serving: Serving, site: Site) -> None:
    before = samples(await scrape(lived))
    await lived.daemon.stop()
    async with serving() as again:
        after = samples(await scrape(again))
    for name in ("notifyd_rows_total", "notifyd_events_total", "notifyd_attempts_total"):
        assert after[name].items() >= before[name].items()


async def test_a_scrape_walks_through_no_table(lived: Api) -> None:
    assert await lived.daemon.store(lambda db: scans(db, lambda: tally.read(db))) == set()


async def test_there_is_nothing_that_the_catalogue_does_not_say_and_nothing_missing(lived: Api) -> None:
    names = {family.name for family in text_string_to_metric_families(await scrape(lived))}
    assert {name for name in names if name.startswith("notifyd_")} == {
        metric.name.removesuffix("_total") for metric in CATALOGUE
    }


async def test_openmetrics_where_it_is_asked_for(lived: Api) -> None:
    answer = await lived.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@PROMTOOL
async def test_promtool_finds_nothing_to_blame(lived: Api) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=await scrape(lived), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- who may -----------------------------------------------------------------------------------------


async def test_a_token_for_metrics_opens_nothing_else(api: Api) -> None:
    token = await make_token(api.daemon, "prometheus", Permission.READ_METRICS)
    headers = {"authorization": f"Bearer {token}"}
    assert (await api.client.get("/metrics", headers=headers)).status_code == 200
    assert (await api.client.get("/api/notifications/configs", headers=headers)).status_code == 403


@pytest.mark.parametrize(("metrics", "without", "with_token"), [("open", 200, 200), ("off", 401, 404)])
async def test_open_and_off(
    write: Callable[..., None], serving: Serving, sink: HttpSink, metrics: str, without: int, with_token: int
) -> None:
    write(webhook("ops", sink.url), http={"metrics": metrics})
    async with serving() as api:
        assert (await api.client.get("/metrics", headers={"authorization": ""})).status_code == without
        assert (await api.client.get("/metrics")).status_code == with_token
