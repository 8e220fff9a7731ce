"""The filters: what passes, what is dropped, and the sentence that says why."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from notifyd.api import Drop, Event, EventType, Filter, FilterContext, Pass, Severity, Verdict
from notifyd.plugin_host import discover

NOW = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)
FILTERS = discover(None).filters
EVENT = Event(
    id="evt_1",
    event_type=EventType.SYNC_ERROR,
    severity=Severity.ERROR,
    title="Sync Error: woocommerce - orders",
    message="403",
    timestamp=NOW,
    connector_id="woocommerce",
    entity_type="orders",
    error_type="sync_failure",
    tenant_id="acme",
)


def built(name: str, options: Any) -> Filter[Any]:
    """The filter as the daemon builds it: its options validated by its own type."""
    cls = FILTERS[name].cls
    return cls(TypeAdapter(cls.Options).validate_python(options))


def verdict(name: str, options: Any, **fields: Any) -> Verdict:
    return built(name, options).decide(dataclasses.replace(EVENT, **fields), FilterContext(NOW, "ops-slack"))


@pytest.mark.parametrize("threshold", list(Severity))
@pytest.mark.parametrize("severity", list(Severity))
def test_min_severity_passes_at_or_above(threshold: Severity, severity: Severity):
    passes = list(Severity).index(severity) >= list(Severity).index(threshold)
    expected = Pass() if passes else Drop(f"severity {severity.value} is below {threshold.value}")
    assert verdict("min_severity", threshold.value, severity=severity) == expected


LISTS = [
    ("connectors", "connector_id", "connector", "woocommerce"),
    ("entity_types", "entity_type", "entity type", "orders"),
    ("error_types", "error_type", "error type", "sync_failure"),
    ("tenants", "tenant_id", "tenant", "acme"),
]


@pytest.mark.parametrize(("name", "field", "noun", "value"), LISTS)
def test_a_list_matches_exactly(name: str, field: str, noun: str, value: str):
    assert verdict(name, ["other", value]) == Pass()
    for near in (value.upper(), value[:-1], f"{value} ", f"{value}s", ""):
        assert verdict(name, ["other", value], **{field: near}) == Drop(f"{noun} {near} is not among other, {value}")


@pytest.mark.parametrize(("name", "field"), [row[:2] for row in LISTS if row[0] != "tenants"])
def test_an_event_without_the_field_concerns_everyone(name: str, field: str):
    assert verdict(name, ["other"], **{field: None}) == Pass()


def test_a_config_limited_to_tenants_sees_no_event_that_may_be_anothers():
    reason = "the event names no tenant, and this config is limited to acme, initech"
    assert verdict("tenants", ["acme", "initech"], tenant_id=None) == Drop(reason)
    assert verdict("tenants", ["acme", "initech"], tenant_id="globex") == Drop(
        "tenant globex is not among acme, initech"
    )


@pytest.mark.parametrize("event_type", list(EventType))
def test_event_types_knows_every_type(event_type: EventType):
    assert verdict("event_types", [event_type.value], event_type=event_type) == Pass()
    others = [other.value for other in EventType if other is not event_type]
    reason = f"event type {event_type.value} is not among {', '.join(others)}"
    assert verdict("event_types", others, event_type=event_type) == Drop(reason)


def test_a_reason_stays_readable():
    assert verdict("connectors", [f"c{number}" for number in range(200)]) == Drop(
        "connector woocommerce is not among the 200 listed"
    )
    assert verdict("connectors", ["pos"], connector_id="x" * 9000) == Drop(f"connector {'x' * 100} is not among pos")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("min_severity", "fatal", "'info', 'warning', 'error' or 'critical'"),
        ("min_severity", "ERROR", "'info', 'warning', 'error' or 'critical'"),
        ("connectors", [], "at least 1 item"),
        ("connectors", "quickbooks", "valid list"),
        ("connectors", [7], "valid string"),
        ("connectors", [""], "at least 1 character"),
        ("event_types", ["sync_eror"], "'sync_error'"),
        ("event_types", [], "at least 1 item"),
        ("tenants", [], "at least 1 item"),
    ],
)
def test_bad_options_are_refused(name: str, options: Any, words: str):
    with pytest.raises(ValidationError, match=words):
        built(name, options)
