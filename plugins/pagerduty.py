"""Opens incidents in PagerDuty, and resolves them when what they are about has ended.

Events API v2 (https://developer.pagerduty.com/docs/events-api-v2/trigger-events/). What opens and is later closed
(a streak, a stuck run, an unreachable source, a failing channel) is one incident, by one dedup_key. A single sync
error has no end that notifyd could see: limit a config to those four with the filter event_types, and nobody has to
resolve anything by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from notifyd.api import Channel, Context, Form, HttpOptions, Notification, Reason, Secret, hookimpl, rfc3339
from notifyd_plugins.lengths import cut
from notifyd_plugins.server_url import ServerUrl

_SUMMARY_LIMIT = 1024
_TEXT_LIMIT = 20_000


def _key(key: Secret) -> Secret:
    if key.resolved and not (len(key.reveal()) == 32 and key.reveal().isalnum() and key.reveal().isascii()):
        raise ValueError("is not an integration key: it has 32 letters and digits")
    return key


class PagerDutyOptions(HttpOptions):
    """Which service is told."""

    routing_key: Annotated[Secret, AfterValidator(_key), Form("^[A-Za-z0-9]{32}$")] = Field(
        description="The integration key of a service's Events API v2 integration."
    )
    server: ServerUrl = Field(
        "https://events.pagerduty.com",
        description='The events address; "https://events.eu.pagerduty.com" for an account in the EU.',
    )


class PagerDutyChannel(Channel[PagerDutyOptions]):
    """Opens an incident in PagerDuty, and resolves it on recovery."""

    name = "pagerduty"
    Options = PagerDutyOptions

    async def send(self, notification: Notification, ctx: Context) -> None:
        for action in actions(notification):
            answer = await ctx.http.request(
                "POST",
                f"{self.options.server}/v2/enqueue",
                headers={"content-type": "application/json"},
                body=json.dumps(self._event(action, notification, ctx)).encode(),
            )
            answer.raise_for_status(ctx.now)

    def _event(self, action: str, notification: Notification, ctx: Context) -> dict[str, Any]:
        told = {
            "routing_key": self.options.routing_key.reveal(),
            "event_action": action,
            "dedup_key": subject(notification),
        }
        return told if action == "resolve" else told | self._details(notification, ctx)

    def _details(self, notification: Notification, ctx: Context) -> dict[str, Any]:
        event, words = notification.event, ctx.render()
        about = {
            "summary": cut(words.title, _SUMMARY_LIMIT),
            "source": event.source or "notifyd",
            "severity": event.severity.value,
            "timestamp": rfc3339(event.timestamp),
            "component": event.connector_id,
            "group": event.schedule_id,
            "class": event.event_type.value,
            "custom_details": {"text": cut(words.text, _TEXT_LIMIT), "notification": ctx.delivery_id},
        }
        links = {"client_url": words.link, "links": [{"href": words.link, "text": "notifyd"}]} if words.link else {}
        return {"client": "notifyd", "payload": {key: value for key, value in about.items() if value}, **links}


def subject(notification: Notification) -> str:
    """What the incident is called: its condition, where it has one; so that what closes it finds it again."""
    return notification.thread or notification.id


def actions(notification: Notification) -> Iterator[str]:
    """Trigger, resolve, or both: of what ended before it could be told, and of a test, which nobody should solve."""
    closed = any(event.closes for event in notification.events)
    if not all(event.closes for event in notification.events):
        yield "trigger"
    if closed or notification.reason is Reason.TEST:
        yield "resolve"


@hookimpl
def notifyd_channels() -> list[type[Channel[Any]]]:
    """One channel."""
    return [PagerDutyChannel]
