"""Attempts, retries and death, with what the history says of them."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest

from notifyd.daemon import Daemon
from notifyd.store import outbox
from tests.loops.conftest import Clock, Running, Said
from tests.sinks.http import HANG, RESET, HttpSink, Request
from tests.sinks.log import JobLog
from tests.sinks.smtp import SmtpSink
from tests.system.site import Site, until, webhook


@pytest.fixture(autouse=True)
def one_config(site: Site, jobs: JobLog, sink: HttpSink) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])


async def attempted(site: Site, attempts: int, config: str = "hook") -> None:
    """Return once so many attempts have ended."""
    await until(lambda: sum(a["finished_at"] is not None for a in site.attempts(config)) == attempts)


async def retried(site: Site, daemon: Daemon, clock: Clock, sink: HttpSink, attempts: int) -> list[Request]:
    """Let time pass until so many attempts have arrived, and ended."""
    for done in range(len(sink.requests), attempts):
        await attempted(site, done)
        clock.forward(daemon, hours=2)
        await sink.wait_for(done + 1)
    await attempted(site, attempts)
    return sink.requests


async def test_an_endpoint_that_answers_503_twice_still_gets_it(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    sink.script = [503, 503]
    async with running() as daemon:
        jobs.add("error", "no")
        requests = await retried(site, daemon, clock, sink, 3)
    (identity,) = {request.headers["webhook-id"] for request in requests}
    assert len({request.body for request in requests}) == 1
    attempts = site.attempts("hook")
    assert [(a["delivery_id"], a["attempt"], a["status_code"], a["result"], a["success"]) for a in attempts] == [
        (identity, 1, 503, "retry", 0),
        (identity, 2, 503, "retry", 0),
        (identity, 3, 200, "sent", 1),
    ]
    assert all(a["error"] and "503" in a["error"] for a in attempts[:2])
    assert site.states("hook") == ["sent"]


async def test_the_first_retry_comes_after_about_two_seconds(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    sink.script = [503]
    async with running():
        jobs.add("error", "no")
        await attempted(site, 1)
    (due, ended) = site.query(
        "SELECT d.due_at, h.finished_at FROM deliveries d JOIN notification_history h ON h.delivery_id = d.id"
    )[0]
    assert timedelta(seconds=2) <= datetime.fromisoformat(due) - datetime.fromisoformat(ended) <= timedelta(seconds=3)


async def test_a_404_is_final_at_once_and_can_be_requeued(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    sink.script = [404]
    async with running() as daemon:
        jobs.add("error", "no")
        await until(lambda: site.states("hook") == ["dead"])
        identity = site.value("SELECT id FROM deliveries")
        assert await daemon.store(outbox.requeue, [identity], daemon.clock()) == [identity]
        daemon.sender.wake()
        first, second = await sink.wait_for(2)
        await until(lambda: site.states("hook") == ["sent"])
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == identity
    assert [(a["attempt"], a["status_code"], a["result"]) for a in site.attempts("hook")] == [
        (1, 404, "rejected"),
        (2, 200, "sent"),
    ]
    assert site.imbalances() == []


async def test_a_dead_streak_is_told_again(site: Site, jobs: JobLog, sink: HttpSink, running: Running) -> None:
    """Who was never told of a streak is told of the failures that follow; nothing folds into a dead delivery."""
    sink.answer = lambda request: 404 if request.json()["event_type"] == "consecutive_failures" else 200
    async with running():
        for _ in range(3):
            jobs.add("error", "no")
        await until(lambda: sorted(site.states("hook")) == ["dead", "sent", "sent", "sent"])
        jobs.add("error", "the fourth")
        requests = await sink.wait_for(5)
        jobs.add("ok")
        await until(lambda: ("recovered", "dropped") in site.decided("hook"))
    assert requests[-1].json()["message"] == "the fourth"


async def test_retry_after_is_honoured(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    sink.script = [(429, {"Retry-After": "120"}, b"slow down")]
    async with running() as daemon:
        jobs.add("error", "no")
        await attempted(site, 1)
        (attempt,) = site.attempts("hook")
        due = datetime.fromisoformat(site.value("SELECT due_at FROM deliveries"))
        wait = due - datetime.fromisoformat(attempt["finished_at"])
        clock.forward(daemon, seconds=wait.total_seconds())
        await sink.wait_for(2)
    assert timedelta(seconds=120) <= wait <= timedelta(seconds=125)


async def test_nothing_is_tried_for_ever(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    sink.answer = 500
    async with running() as daemon:
        jobs.add("error", "no")
        await sink.wait_for(1)
        begun = clock()
        for attempts in itertools.count(1):
            await attempted(site, attempts)
            if site.states("hook") == ["dead"]:
                break
            clock.forward(daemon, minutes=72)  # the longest wait is an hour, and up to a fifth of it
        tried_for = clock() - begun
    assert timedelta(hours=15) < tried_for < timedelta(hours=30)
    assert len(sink.requests) == len(site.attempts("hook")) <= 30
    assert site.imbalances() == []


async def test_a_hanging_endpoint_times_out_and_delays_nobody(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    async with HttpSink() as hanging:
        hanging.answer = HANG
        site.write(
            sources=[jobs.source("jobs")],
            notifications=[webhook("hook", sink.url), webhook("hanging", hanging.url, timeout="1s")],
        )
        async with running():
            jobs.write(jobs.row("error", "no", job=f"job {n}") for n in range(20))
            await sink.wait_for(20)
            assert [a["result"] for a in site.attempts("hanging")] == [None] * 8  # in flight, and all that may be
            await until(lambda: "retry" in [a["result"] for a in site.attempts("hanging")])
    ended = [a for a in site.attempts("hanging") if a["result"] == "retry"]
    assert all(a["error"].endswith(" 1 s") for a in ended)
    assert all(1_000 <= a["duration_ms"] < 3_000 for a in ended)
    assert site.imbalances() == []


async def test_an_endpoint_that_only_fails_is_tried_slowly_until_its_first_success(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    """Its backlog takes neither the processor nor the state DB from the others."""
    async with HttpSink() as failing:
        failing.answer = 500
        site.write(
            sources=[jobs.source("jobs")], notifications=[webhook("failing", failing.url), webhook("hook", sink.url)]
        )
        async with running() as daemon:
            jobs.write(jobs.row("error", "no", job=f"job {n}") for n in range(200))
            await sink.wait_for(200)
            assert 8 <= len(failing.requests) < 100
            failing.answer = 200
            clock.forward(daemon, minutes=1)
            await until(lambda: site.states("failing") == ["sent"] * 200)
    assert site.imbalances() == []


async def test_a_refused_and_a_reset_connection_say_so(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    async with HttpSink() as closed:
        refused = closed.url
    sink.answer = RESET
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url), webhook("refused", refused)])
    async with running():
        jobs.add("error", "no")
        await attempted(site, 1)
        await attempted(site, 1, "refused")
    assert "connection refused" in site.attempts("refused")[0]["error"]
    assert "connection" in site.attempts("hook")[0]["error"]
    assert site.states("hook") == site.states("refused") == ["retrying"]


async def test_a_mail_server_that_says_later_gets_the_same_message_later(
    site: Site, jobs: JobLog, running: Running, clock: Clock
) -> None:
    with SmtpSink() as server:
        server.answer("END-OF-DATA", "451 4.3.0 try later", times=1)
        config = {
            "smtp_host": server.host,
            "smtp_port": server.port,
            "tls": "none",
            "from_address": "notifyd@example.com",
            "to_addresses": ["ops@example.com"],
        }
        site.write(
            sources=[jobs.source("jobs")],
            notifications=[{"name": "mail", "notification_type": "email", "config": config}],
        )
        async with running() as daemon:
            jobs.add("error", "no")
            await attempted(site, 1, "mail")
            clock.forward(daemon, minutes=1)
            (received,) = await server.wait_for(1)
            await attempted(site, 2, "mail")
    attempts = site.attempts("mail")
    assert [a["result"] for a in attempts] == ["retry", "sent"]
    assert "451" in attempts[0]["error"]
    assert attempts[0]["delivery_id"] in received.message["Message-ID"]


async def test_while_a_group_is_retried_its_digest_gathers(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    """A mended endpoint gets one message more, not one for each failure that came meanwhile."""
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url, window="1s")])
    sink.answer = 503
    async with running() as daemon:
        jobs.add("error", "no", job="first")
        await attempted(site, 1)
        jobs.write(jobs.row("error", "no", job=f"job {n}") for n in range(30))
        await until(lambda: site.states("hook") == ["retrying", "gathering"])
        clock.forward(daemon, seconds=3)
        await attempted(site, 2)
        sink.answer = 200
        clock.forward(daemon, minutes=1)
        requests = await sink.wait_for(4)
    assert [request.json()["notification"]["count"] for request in requests] == [1, 1, 1, 30]


async def test_a_recovery_never_overtakes_what_it_closes(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    announced = asyncio.Event()

    def answer(request: Request) -> int:
        if request.json()["event_type"] == "consecutive_failures" and not announced.is_set():
            announced.set()
            return 503
        return 200

    sink.answer = answer
    async with running() as daemon:
        for _ in range(3):
            jobs.add("error", "no")
        await announced.wait()
        jobs.add("ok")
        await until(lambda: ("recovered", "planned") in site.decided("hook"))
        clock.forward(daemon, minutes=5)
        await sink.wait_for(5)
        clock.forward(daemon, minutes=5)
        requests = await sink.wait_for(6)
    types = [request.json()["event_type"] for request in requests]
    assert types[-2:] == ["consecutive_failures", "recovered"]
    assert types.count("recovered") == 1


async def test_a_test_send_takes_the_real_way(site: Site, sink: HttpSink, running: Running) -> None:
    async with running() as daemon:
        (config,) = daemon.roster.lanes
        identity = await daemon.store(outbox.enqueue_test, config, "hook", daemon.clock())
        daemon.sender.wake()
        (request,) = await sink.wait_for(1)
        await attempted(site, 1)
    assert request.headers["webhook-id"] == identity
    assert request.json()["event_type"] == "test"
    (attempt,) = site.attempts("hook")
    assert (attempt["event_type"], attempt["success"]) == ("test", 1)
    assert site.imbalances() == []


async def test_no_secret_is_in_what_is_kept_and_said(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, said: Said
) -> None:
    """The answer of a badly made endpoint repeats the token that it was sent."""
    token = "s3cr3t-t0k3n"
    sink.answer = lambda request: (500, {}, f"who is {request.headers['authorization']}?".encode())
    hook = webhook("hook", sink.url)
    hook["config"]["auth_token"] = token
    site.write(sources=[jobs.source("jobs")], notifications=[hook])
    async with running():
        jobs.add("error", "no")
        await attempted(site, 1)
    assert said("not sent")
    assert token not in str(said(""))
    assert token not in str(site.query("SELECT * FROM notification_history"))
    assert token not in str(site.query("SELECT * FROM notification_configs"))
    assert token.encode() not in site.state.read_bytes()


async def test_a_quick_endpoint_has_many_claimed_and_one_that_fails_gives_them_back(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url, timeout="3s")])
    claimed = "SELECT COUNT(*) FROM deliveries WHERE state = 'sending'"
    asked = most = 0

    def answer(_: Request) -> Any:
        nonlocal asked, most
        asked += 1
        most = max(most, site.value(claimed)) if asked % 20 == 0 else most
        return 200 if asked < 300 else 503 if asked == 300 else HANG

    sink.answer = answer
    async with running():
        jobs.write(jobs.row("error", "no", job=f"job {number}") for number in range(500))
        await sink.wait_for(300, timeout=30)
        await until(lambda: site.value(claimed) <= 8, 5, "what waits was given back")
        unended = "SELECT COUNT(*) FROM notification_history WHERE finished_at IS NULL"
        assert site.value(unended) == site.value(claimed)
        assert site.value("SELECT COUNT(*) FROM deliveries WHERE state IN ('pending', 'retrying')") >= 500 - 300 - 8
        assert most > 8
    assert site.imbalances() == []
