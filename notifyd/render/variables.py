"""What a template sees of a notification: plain texts, numbers, lists and tables, made anew for each rendering."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

from notifyd.api import Event, Notification
from notifyd.render.cleaning import clean_lines
from notifyd.render.pages import text_page
from notifyd.render.view import MESSAGE_LIMIT, VALUE_LIMIT, View

NOTIFICATION_FIELDS = ("id", "config", "reason", "count", "is_digest", "first_at", "last_at", "events")

NAMES = frozenset({"event", "notification", "default_title", "default_text", "link", "range"})
"""Everything that a template may name, `range` included."""


def variables_of(view: View, notification: Notification, names: Set[str]) -> dict[str, Any]:
    """The variables of these names."""
    makers: dict[str, Callable[[], Any]] = {
        "event": lambda: _event(notification.event),
        "notification": lambda: _notification(notification),
        "default_title": lambda: view.title,
        "default_text": lambda: text_page(view),
        "link": lambda: view.link,
    }
    return {name: make() for name, make in makers.items() if name in names}


def _notification(notification: Notification) -> dict[str, Any]:
    fields = {name: getattr(notification, name) for name in NOTIFICATION_FIELDS}
    events = [_event(event) for event in notification.events]
    return {**fields, "reason": notification.reason.value, "events": events}


def _event(event: Event) -> dict[str, Any]:
    """The event's fields as in JSON, but its time as a time, and its texts no longer than the default text has them."""
    fields = {**event.as_json(), "timestamp": event.timestamp}
    return {name: _cut(value, MESSAGE_LIMIT if name == "message" else VALUE_LIMIT) for name, value in fields.items()}


def _cut(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return clean_lines(value, limit)
    if isinstance(value, dict):
        return {key: _cut(inner, limit) for key, inner in value.items()}
    return [_cut(inner, limit) for inner in value] if isinstance(value, list) else value
