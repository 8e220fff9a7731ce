"""Plugins as they should not be, and the kit's tests of them; `test_kit.py` runs them, and looks at what fails."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import urllib.request
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from notifyd.api import (
    Channel,
    Context,
    Drop,
    Event,
    Filter,
    FilterContext,
    Hold,
    HttpOptions,
    Notification,
    Pass,
    Reject,
    Retry,
    Secret,
    SecretUrl,
    Verdict,
)
from notifyd.api.testing import ChannelTests, FilterTests, HttpServer


class PagerOptions(HttpOptions):
    """Fine options; the channels are what is bad."""

    url: SecretUrl = Field(description="Where to send.")
    token: Secret = Field(description="The password.")


class Blocking(Channel[PagerOptions]):
    """Sends with urllib: on the loop's thread, past the guard, and without a timeout."""

    name = "blocking"
    Options = PagerOptions

    async def send(self, notification: Notification, ctx: Context) -> None:
        request = urllib.request.Request(self.options.url.reveal(), json.dumps(notification.as_json()).encode())
        try:
            urllib.request.urlopen(request, timeout=2.6)
        except urllib.error.HTTPError as error:
            final = error.code < 500 and error.code not in (408, 425, 429)
            after = error.headers.get("retry-after")
            if final:
                raise Reject(f"HTTP {error.code}") from None
            raise Retry(f"HTTP {error.code}", after and float(after)) from None
        except Exception as error:
            raise Retry(type(error).__name__) from None


class Optimist(Channel[PagerOptions]):
    """Takes every answer for success, and every error too."""

    name = "optimist"
    Options = PagerOptions

    async def send(self, notification: Notification, ctx: Context) -> None:
        try:
            await ctx.http.request("POST", self.options.url.reveal(), body=ctx.delivery_id.encode())
        except (Exception, asyncio.CancelledError):
            ctx.log.warning("well, whatever")


class Gossip(Channel[PagerOptions]):
    """Says its secrets to everyone, and never cleans up."""

    name = "gossip"
    Options = PagerOptions

    async def send(self, notification: Notification, ctx: Context) -> None:
        logging.getLogger("gossip").info("sending to %s", self.options.url.reveal())
        self.chatting = asyncio.create_task(asyncio.sleep(3600))
        headers = {"authorization": self.options.token.reveal()}
        answer = await ctx.http.request("POST", self.options.url.reveal(), headers=headers, body=b"{}")
        if answer.status >= 300:
            print("failed with", self.options.token.reveal())
            raise Retry(f"{self.options.token.reveal()} was refused by {self.options.url.reveal()}")


class Moody(Filter[int]):
    """Says what it likes, and holds things for ever."""

    name = "moody"
    Options = int

    def decide(self, event: Event, ctx: FilterContext) -> Verdict:
        if event.connector_id is None:
            return Hold(datetime.max)  # noqa: DTZ901
        if len(event.title) > 1000:
            return event.title  # type: ignore[return-value]
        return Drop("") if random.random() < 0.5 else Pass()


class TestsOfAll(ChannelTests):
    def options(self, server: HttpServer) -> Mapping[str, Any]:
        return {"url": server.url, "token": "a-secret-token"}


class TestBlocking(TestsOfAll):
    channel = Blocking


class TestOptimist(TestsOfAll):
    channel = Optimist


class TestGossip(TestsOfAll):
    channel = Gossip


class TestMoody(FilterTests):
    filter = Moody
    options: ClassVar[list[Any]] = [1]
    bad_options: ClassVar[list[Any]] = ["1", 2]


del TestsOfAll
