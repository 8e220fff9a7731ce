"""The metrics: their names, what they mean, and how they are written for Prometheus.

Names follow https://prometheus.io/docs/practices/naming/. A name that an alert rule or a dashboard uses stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector


class Metric(NamedTuple):
    """One metric. A counter's name ends in _total, as it is asked for."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spread:
    """How values are spread: how many are in each bucket (the last is beyond all `bounds`), and their sum."""

    bounds: Sequence[float]
    counts: Sequence[int]
    sum: float


Values = Mapping[tuple[str, ...], float | Spread]
"""By the values of the labels, in their order."""

CATALOGUE = (
    Metric("notifyd_build_info", "gauge", "The version that runs; always 1.", ("version", "python")),
    # sources
    Metric("notifyd_source_up", "gauge", "1 where the last poll of a source went well.", ("source",)),
    Metric("notifyd_source_lag_seconds", "gauge", "Since when a source is behind; 0 where it is not.", ("source",)),
    Metric("notifyd_source_polls_total", "counter", "Polls since the start, by outcome.", ("source", "outcome")),
    Metric("notifyd_rows_total", "counter", "Rows that were read, by what they came to.", ("source", "outcome")),
    Metric("notifyd_events_total", "counter", "Events that were found.", ("source", "event_type", "severity")),
    Metric("notifyd_untold_events_total", "counter", "Events that every config dropped.", ("source",)),
    Metric("notifyd_streaks", "gauge", "Streaks of failed runs that were told and go on.", ("source",)),
    # configs
    Metric("notifyd_deliveries_total", "counter", "Deliveries, but for tests, that ended so.", ("config", "outcome")),
    Metric("notifyd_attempts_total", "counter", "Attempts to send that ended, by result.", ("config", "result")),
    Metric("notifyd_attempt_duration_seconds", "histogram", "How long attempts to send took.", ("config",)),
    Metric("notifyd_queue_deliveries", "gauge", "Deliveries on their way, counted up to 10000.", ("config",)),
    Metric("notifyd_queue_age_seconds", "gauge", "Since when the oldest of them is on its way.", ("config",)),
    Metric("notifyd_breaker_open", "gauge", "1 where a config fails so much that it is only probed.", ("config",)),
    # the daemon
    Metric("notifyd_turn_age_seconds", "gauge", "How long ago a part of the daemon last ended a turn.", ("part",)),
    Metric("notifyd_turn_ok", "gauge", "1 where the last turn of a part went well.", ("part",)),
    Metric("notifyd_event_loop_delay_seconds", "histogram", "How late the event loop woke up, once a second."),
    Metric("notifyd_reloads_total", "counter", "Reloads since the start, by outcome.", ("outcome",)),
    Metric("notifyd_settings_refused", "gauge", "1 while the settings file has problems, and older settings go on."),
    Metric("notifyd_channels_unopened", "gauge", "Configs whose channel did not open; it is tried again."),
    Metric("notifyd_state_db_bytes", "gauge", "Size of the state DB, its write-ahead log included."),
    Metric("notifyd_state_disk_free_bytes", "gauge", "What is free on the disk of the state DB."),
)

BY_NAME = {metric.name: metric for metric in CATALOGUE}


def write(values: Mapping[str, Values], accept: str = "") -> tuple[bytes, str]:
    """The metrics of the catalogue that there are values of, and those of the process; and their content type.

    `accept` is the request's header: OpenMetrics where that is asked for.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(values))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Given(Collector):
    def __init__(self, values: Mapping[str, Values]) -> None:
        self.values = values

    def collect(self) -> Iterable[Family]:
        """One family for each metric."""
        for metric in CATALOGUE:
            if metric.name in self.values:
                yield _family(metric, self.values[metric.name])


def _family(metric: Metric, values: Values) -> Family:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, spread in values.items():
            if isinstance(spread, Spread):
                histogram.add_metric(labels, [*_cumulative(spread)], spread.sum)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
    for labels, value in values.items():
        if not isinstance(value, Spread):
            family.add_metric(labels, value)
    return family


def _cumulative(spread: Spread) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, number in zip([*spread.bounds, float("inf")], spread.counts, strict=True):
        total += number
        yield ("+Inf" if bound == float("inf") else str(bound)), total
