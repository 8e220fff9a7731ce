"""/metrics, for Prometheus: what the state DB counts, and how the daemon's parts fare."""

from __future__ import annotations

import asyncio
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from notifyd import __version__
from notifyd.observe.delays import BOUNDS
from notifyd.observe.health import Health
from notifyd.observe.health import source as part_of
from notifyd.observe.metrics import Spread, Values, write
from notifyd.settings import Metrics, sqlite_path
from notifyd.store import tally
from notifyd.store.audit import ROW_ENDS
from notifyd.store.database import StoreError
from notifyd.store.tally import BUCKETS, ConfigTally, SourceTally, Tally
from notifyd.store.tokens import Permission
from notifyd.web.auth import permitted
from notifyd.web.reach import Reach, Within

PATH = "/metrics"
_BOUNDS = [bound / 1000 for bound in BUCKETS]
_PATIENCE = 3.0
"""Seconds; where the state DB does not answer by then, the rest is told without it."""


def routers(wanted: Metrics) -> Iterable[APIRouter]:
    """The route, for whom the settings say; none where it is off."""
    if wanted == "off":
        return
    allowed = (Permission.READ_METRICS, Permission.MANAGE_SETTINGS)
    checks: list[Any] = [Depends(permitted(*allowed))] if wanted == "token" else []
    router = APIRouter(include_in_schema=False, dependencies=checks)
    router.add_api_route(PATH, metrics, methods=["GET"])
    yield router


async def metrics(request: Request, reach: Within) -> Response:
    """All of them, at the cost of a few look-ups for each source and config."""
    values = _of_daemon(reach)
    try:
        async with asyncio.timeout(_PATIENCE):
            values |= _of_state(reach, await reach.read(tally.read))
    except (TimeoutError, StoreError):
        pass  # notifyd_turn_ok tells of it
    body, content_type = write(values, request.headers.get("accept", ""))
    return Response(body, media_type=content_type)


def _of_daemon(reach: Reach) -> dict[str, Values]:
    health, delays = reach.health, reach.delays
    parts = health.report()
    state = sqlite_path(reach.settings.daemon.state)
    return {
        "notifyd_build_info": {(__version__, platform.python_version()): 1},
        "notifyd_turn_age_seconds": {(name,): part["seconds_ago"] for name, part in parts.items()},
        "notifyd_turn_ok": {(name,): float(part["ok"]) for name, part in parts.items()},
        "notifyd_event_loop_delay_seconds": {(): Spread(BOUNDS, delays.counts, delays.sum)},
        "notifyd_reloads_total": {(outcome,): health.reloads[outcome] for outcome in ("ok", "refused")},
        "notifyd_settings_refused": {(): float(bool(health.refused))},
        "notifyd_channels_unopened": {(): len(health.unopened())},
        "notifyd_state_db_bytes": {(): _size(state)},
        "notifyd_state_disk_free_bytes": {(): shutil.disk_usage(state.parent).free},
        **_of_sources(health, [source.name for source in reach.settings.sources if source.enabled]),
    }


def _of_sources(health: Health, names: Sequence[str]) -> dict[str, Values]:
    parts, lags, counts = health.report(), health.lags(), health.counts()
    return {
        "notifyd_source_up": {(name,): float(parts.get(part_of(name), {}).get("ok", False)) for name in names},
        "notifyd_source_lag_seconds": {(name,): lags.get(part_of(name), 0.0) for name in names},
        "notifyd_source_polls_total": {
            (name, outcome): counts.get((part_of(name), ok), 0)
            for name in names
            for outcome, ok in (("ok", True), ("failed", False))
        },
    }


def _of_state(reach: Reach, found: Tally) -> dict[str, Values]:
    now = reach.clock()
    enabled = {source.name for source in reach.settings.sources if source.enabled}
    sources = [source for source in found.sources if source.name in enabled]
    configs = found.configs
    return {
        "notifyd_rows_total": _by_label(sources, lambda source: {end: source.rows.get(end, 0) for end in ROW_ENDS}),
        "notifyd_events_total": {(s.name, *labels): number for s in sources for labels, number in s.events.items()},
        "notifyd_untold_events_total": _each(sources, lambda source: source.rows.get("untold", 0)),
        "notifyd_streaks": _each(sources, lambda source: source.streaks),
        "notifyd_deliveries_total": _by_label(configs, lambda config: {"sent": 0, "dead": 0, **config.ends}),
        "notifyd_attempts_total": _by_label(configs, lambda config: {"sent": 0, "retry": 0, **config.attempts}),
        "notifyd_attempt_duration_seconds": _each(configs, _spread),
        "notifyd_breaker_open": _each(configs, lambda config: float(config.paused)),
        "notifyd_queue_deliveries": _each(configs, lambda config: config.waiting),
        "notifyd_queue_age_seconds": {
            (config.name,): max((now - config.since).total_seconds(), 0) if config.since else 0 for config in configs
        },
    }


def _each(of: Iterable[Any], value: Callable[[Any], float | Spread]) -> Values:
    return {(each.name,): value(each) for each in of}


def _by_label(of: Iterable[SourceTally | ConfigTally], values: Callable[[Any], Mapping[str, int]]) -> Values:
    return {(each.name, label): number for each in of for label, number in values(each).items()}


def _spread(config: ConfigTally) -> Spread:
    return Spread(_BOUNDS, config.latency, config.latency_sum / 1000)


def _size(state: Path) -> int:
    wal = state.with_name(state.name + "-wal")
    return sum(file.stat().st_size for file in (state, wal) if file.exists())
