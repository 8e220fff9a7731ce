"""Events and notifications to try a plugin with: one of every kind, and what a hostile sync log may hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from notifyd.api import Event, EventType, Notification, Reason, Severity
from notifyd.render.samples import EVENTS, SAMPLES

NOW = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)


def an_event(**changes: Any) -> Event:
    """A failed sync, except for the fields that you give."""
    values = {
        "id": "5f0c7a1d2b3e4f60",
        "event_type": EventType.SYNC_ERROR,
        "severity": Severity.ERROR,
        "title": "Sync Error: quickbooks - orders",
        "message": "500: QuickBooks said that the order is not complete",
        "timestamp": NOW,
        "connector_id": "quickbooks",
        "entity_type": "orders",
        "error_type": "sync_failure",
        "tenant_id": "acme",
        "schedule_id": "nightly",
        "run_id": "run-4711",
        "source": "shop",
        "details": {"sync_id": "run-4711", "connector": "quickbooks", "entity": "orders", "entity_id": "WC-10492"},
        "suggested_actions": ("Check the credentials", "Retry the failed records"),
    }
    return Event(**{**values, **changes})


def a_notification(event: Event | None = None, *events: Event, count: int = 0, **changes: Any) -> Notification:
    """What tells one event; or, with `events`, a digest of them under the headline `event`."""
    event = event or an_event()
    values = {
        "id": "0192f0c1e5b27c3d",
        "config": "ops-mail",
        "reason": Reason.DIGEST if events else Reason.FIRST,
        "event": event,
        "events": events or (event,),
        "count": count or len(events) or 1,
        "first_at": NOW,
        "last_at": NOW,
    }
    return Notification(**{**values, **changes})


A_DIGEST = SAMPLES["a digest"]
A_TEST = SAMPLES[EventType.TEST.value]
A_RECOVERY = SAMPLES[EventType.RECOVERED.value]

HOSTILE: Mapping[str, str] = {
    "line breaks that would forge a header": "late\r\nX-Injected: yes\r\n\r\n.\r\nQUIT\r\n",
    "control characters and a terminal's commands": "a\x00b\x07c\x1b[31md\x7fe\x9bf",
    "HTML and a script": "<script>alert(1)</script><img src=x onerror=alert(1)>&amp;",
    "quotes, braces and templates": "\"'`\\ {{ 7*7 }} ${7*7} %s %n {0} #{x}",
    "mentions and formatting": "@everyone <!channel> <@U1> *b* _i_ [l](https://evil.example) ```",
    "every script": "Ünïcödé 注文が失敗しました заказ الطلب הזמנה 🧾👩‍👩‍👧‍👦 e\u0301",
    "text that runs backwards": "abc\u202etxt.exe\u202c\u2066x\u2069",
    "half a character": "before \ud83d after",
    "nothing but space": " \t\n ",
    "shell": "; rm -rf / #$(reboot)`reboot`",
}
"""By what they are: texts that somebody's sync log may hold."""


def hostile(text: str) -> Notification:
    """A notification that has this text wherever one may be."""
    event = an_event(
        title=text,
        message=text,
        connector_id=text,
        entity_type=text,
        error_type=text,
        tenant_id=text,
        details={text: text, "entity": text},
        suggested_actions=(text, text),
    )
    return a_notification(event)


def huge(characters: int = 1_000_000) -> Notification:
    """A digest whose every text is long."""
    text = "very long " * (characters // 10)
    events = [an_event(title=text[:1000], message=text[:50_000], id=str(number)) for number in range(20)]
    headline = an_event(title=text[:5000], message=text, suggested_actions=tuple(text[:500] for _ in range(50)))
    return a_notification(headline, *events, count=100_000)


def events() -> Iterator[tuple[str, Event]]:
    """What it is, and an event: every type with every severity, without its fields, and with hostile ones."""
    for kind, event in EVENTS.items():
        for severity in Severity:
            yield f"{kind.value}, {severity.value}", replace(event, severity=severity)
    bare = dict.fromkeys(("connector_id", "entity_type", "error_type", "tenant_id", "schedule_id", "run_id"))
    yield "an event without a single field", an_event(**bare, source=None, details={}, suggested_actions=())
    for what, text in HOSTILE.items():
        yield what, hostile(text).event
    yield "a very long one", huge().event
