"""Where the links in notifications lead, with `[http] public_url`."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx

from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.web.conftest import Serving


async def test_a_link_says_how_to_look_its_delivery_up(
    write: Any, serving: Serving, sink: HttpSink, jobs: JobLog
) -> None:
    """The link as it is sent; its page needs no token, holds nothing of the delivery, and what it says to do works."""
    slack = {"name": "slack", "notification_type": "slack", "config": {"webhook_url": sink.url}}
    write(slack, http={"public_url": "https://notifyd.example.com/"})
    async with serving() as api:
        jobs.add("error", "no such order")
        (request,) = await sink.wait_for(1)
        link = request.json()["attachments"][0]["title_link"]
        assert link.startswith("https://notifyd.example.com/deliveries/dlv_")
        async with httpx.AsyncClient(base_url=api.base_url) as client:
            answer = await client.get(link.removeprefix("https://notifyd.example.com"))
            unknown = await client.get(f"/deliveries/dlv_{'0' * 24}")
        identity = link.rpartition("/")[2]
        commands = [html.unescape(each) for each in re.findall("<pre>(.*?)</pre>", answer.text)]
        assert commands == [f"notifyd why {identity}", f"/api/notifications/deliveries/{identity}"]
        found = await api.get(f"/deliveries/{identity}")
    assert found["delivery"]["id"] == identity
    assert found["events"][0]["message"] == "no such order"
    assert "no such order" not in answer.text
    assert unknown.text == answer.text.replace(identity, f"dlv_{'0' * 24}")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert set(re.findall(r'(?:href|src)="([^"]+)', answer.text)) == {"../api/docs"}


async def test_what_is_no_id_of_a_delivery_is_no_page(write: Any, serving: Serving) -> None:
    write()
    async with serving() as api:
        for path in ("/deliveries/x", "/deliveries/<script>", "/deliveries/dlv_%0a", "/deliveries/"):
            answer = await api.ask("GET", f"{api.base_url}{path}")
            assert answer.status_code == 404, path
