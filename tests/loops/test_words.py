"""What people read in the end: one thread for one streak, a link back, and words of the config's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.loops.conftest import Running, Said
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.sinks.smtp import SmtpSink
from tests.system.site import Site, until, webhook


@pytest.fixture
def server() -> Iterator[SmtpSink]:
    with SmtpSink() as server:
        yield server


def mail(server: SmtpSink, **keys: Any) -> dict[str, Any]:
    """A `[[notifications]]` table that sends mail, by default each event by itself."""
    config = {
        "smtp_host": server.host,
        "smtp_port": server.port,
        "tls": "none",
        "from_address": "notifyd@example.com",
        "to_addresses": ["ops@example.com", "gone@example.com"],
    }
    return {"name": "mail", "notification_type": "email", "config": config, "group": {"window": "0s"}, **keys}


async def test_one_streak_is_one_thread_of_mails_on_one_connection(
    site: Site, jobs: JobLog, server: SmtpSink, running: Running
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[mail(server)])
    async with running():
        for number in range(4):
            jobs.add("error", f"no such order {number}")
        await server.wait_for(4)
        jobs.add("ok")
        mails = [received.message for received in await server.wait_for(5)]
    of_streak = [message for message in mails if message["X-Notifyd-Event"] in ("consecutive_failures", "recovered")]
    assert len(of_streak) == 2
    assert len({message["References"] for message in of_streak}) == 1
    assert of_streak[0]["References"].endswith(".thread@example.com>")
    assert server.commands["CONNECT"] <= 2


async def test_who_was_refused_stands_in_the_history(
    site: Site, jobs: JobLog, server: SmtpSink, running: Running
) -> None:
    server.answer("RCPT", "550 5.1.1 no such user", address="gone@example.com")
    site.write(sources=[jobs.source("jobs")], notifications=[mail(server)])
    async with running():
        jobs.add("error", "no such order")
        await until(lambda: site.states("mail") == ["sent"])
    [attempt] = site.attempts("mail")
    assert attempt["success"] == 1
    assert attempt["error"] == "taken for 1 of 2 recipients, refused for gone@example.com: 550 5.1.1 no such user"


async def test_words_of_its_own_with_a_link_back(site: Site, jobs: JobLog, server: SmtpSink, running: Running) -> None:
    template = {"title": "{{ event.severity }}!", "body": "{{ event.message }}: {{ link }}"}
    site.write(
        sources=[jobs.source("jobs")],
        notifications=[mail(server, template=template)],
        http={"public_url": "https://notifyd.example.com/"},
    )
    async with running():
        jobs.add("error", "no such order")
        [received] = await server.wait_for(1)
    delivery = site.value("SELECT id FROM deliveries")
    assert received.message["Subject"] == "error!"
    assert received.part("plain").strip() == f"no such order: https://notifyd.example.com/deliveries/{delivery}"


async def test_a_template_that_fails_all_the_same_gives_way_to_the_default(
    site: Site, jobs: JobLog, server: SmtpSink, running: Running, said: Said
) -> None:
    """No sample of the settings holds this message, so only now is it found."""
    server.answer("RCPT", "550 5.1.1 no such user", address="gone@example.com")
    template = {"body": "x{% if 'order' in event.message %}{{ event.details.order }}{% endif %}"}
    site.write(sources=[jobs.source("jobs")], notifications=[mail(server, template=template)])
    async with running():
        jobs.add("error", "no such order")
        [received] = await server.wait_for(1)
        await until(lambda: site.states("mail") == ["sent"])
    assert "ERROR  Sync Error" in received.part("plain")
    [attempt] = site.attempts("mail")
    assert attempt["error"] == (
        'the template failed, so the default text went out: body: line 1: there is no "order" here; '
        'write {{ … | default("") }} where it may be missing; '
        "taken for 1 of 2 recipients, refused for gone@example.com: 550 5.1.1 no such user"
    )
    assert said("the template failed", config="mail", level="warning")


async def test_the_body_of_a_webhook_stays_as_it_is(site: Site, jobs: JobLog, sink: HttpSink, running: Running) -> None:
    template = {"title": "own title", "body": "own body"}
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url, template=template)])
    async with running():
        jobs.add("error", "no such order")
        [request] = await sink.wait_for(1)
    assert request.json()["message"] == "no such order"
    assert b"own" not in request.body
