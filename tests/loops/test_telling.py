"""From a row in the log to what people are told: streaks, folding, digests, recovery."""

from __future__ import annotations

from tests.loops.conftest import Clock, Running
from tests.sinks.http import HttpSink, Request
from tests.sinks.log import JobLog, SyncLog
from tests.sinks.smtp import SmtpSink
from tests.system.site import Site, of_type, until, webhook


def told(requests: list[Request], config: str) -> list[str]:
    """The event types that one config was told, in order of arrival."""
    return [request.json()["event_type"] for request in requests if request.path == f"/{config}"]


async def test_a_first_error_is_told_at_once(site: Site, shop: SyncLog, sink: HttpSink, running: Running) -> None:
    """Its group's window is five minutes; nothing waits for it."""
    site.write(sources=[shop.source("shop")], notifications=[webhook("hook", sink.url, window="5m")])
    async with running():
        key = shop.add("run-1", "error", "500: out of stock")
        (request,) = await sink.wait_for(1)
    body = request.json()
    assert body["event_type"] == "sync_error"
    assert body["message"] == "500: out of stock"
    assert body["run_id"] == "run-1"
    assert body["notification"]["reason"] == "first"
    assert request.headers["idempotency-key"] == body["notification"]["id"]
    assert site.value("SELECT record_key FROM events") == key
    assert site.imbalances() == []


async def test_it_is_told_by_mail_as_well(site: Site, jobs: JobLog, sink: HttpSink, running: Running) -> None:
    with SmtpSink() as server:
        mail = {
            "name": "mail",
            "notification_type": "email",
            "config": {
                "smtp_host": server.host,
                "smtp_port": server.port,
                "tls": "none",
                "from_address": "notifyd@example.com",
                "to_addresses": ["ops@example.com"],
            },
        }
        site.write(sources=[jobs.source("jobs")], notifications=[mail, webhook("hook", sink.url)])
        async with running():
            jobs.add("error", "no such order")
            (received,) = await server.wait_for(1)
            await sink.wait_for(1)
            await until(lambda: site.states("mail") == ["sent"])
    assert received.recipients == ("ops@example.com",)
    assert "no such order" in received.part("plain")
    assert site.attempts("mail")[0]["event_id"] == site.attempts("hook")[0]["event_id"]


async def test_what_failed_before_the_first_start_is_not_told(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    jobs.add("error", "an old story")
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with running():
        jobs.add("error", "news")
        (request,) = await sink.wait_for(1)
    assert request.json()["message"] == "news"


async def test_a_row_that_was_running_at_the_first_start_is_watched(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    key = jobs.add("running")
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with running():
        jobs.connection.execute("UPDATE jobs SET status = 'error', error = 'died' WHERE id = ?", [key])
        (request,) = await sink.wait_for(1)
    assert request.json()["message"] == "died"
    assert site.imbalances() == []


async def test_a_row_that_is_run_again_in_place_and_fails_is_told_again(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    """Its key is behind the cursor, and nothing in the log says when a row was changed."""
    key = jobs.add("error", "before the start")
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with running():
        for number, text in enumerate(("first", "second"), start=1):
            jobs.connection.execute("UPDATE jobs SET status = 'running' WHERE id = ?", [key])
            await until(lambda: site.value("SELECT status FROM watched") == "running")
            jobs.connection.execute("UPDATE jobs SET status = 'error', error = ? WHERE id = ?", [text, key])
            await sink.wait_for(number)
    assert [request.json()["message"] for request in sink.requests] == ["first", "second"]
    assert site.imbalances() == []


async def test_a_streak_is_announced_folds_and_its_end_is_told_to_exactly_those_who_knew(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    site.write(
        sources=[jobs.source("jobs")],
        notifications=[
            webhook("all", sink.url),
            webhook("critical", sink.url, filters={"min_severity": "critical"}),
            webhook("errors", sink.url, filters={"event_types": ["sync_error"]}),
            webhook("others", sink.url, filters={"connectors": ["woocommerce"]}),
        ],
    )
    async with running():
        for n in range(5):
            jobs.add("error", f"failure {n}")
        await until(lambda: len(site.decided("all")) == 6 and site.states("all") == ["sent"] * 4)
        jobs.add("ok")
        requests = await sink.wait_for(4 + 1 + 5 + 2)
        await until(lambda: "sending" not in site.states("all"))
    failure, announcement = "sync_error", "consecutive_failures"
    assert sorted(told(requests, "all")[:4]) == [announcement, failure, failure, failure]
    assert told(requests, "all")[4:] == ["recovered"]
    assert told(requests, "critical") == [announcement, "recovered"]
    assert told(requests, "errors") == [failure] * 5  # it was never told of the streak, so nothing folds
    assert told(requests, "others") == []
    assert site.decided("all")[4:] == [(failure, "folded"), (failure, "folded"), ("recovered", "planned")]
    assert site.decided("errors")[-1] == ("recovered", "dropped")
    assert site.imbalances() == []


async def test_the_announcement_and_the_recovery_name_each_other(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with running():
        for _ in range(3):
            jobs.add("error", "no")
        await sink.wait_for(4)
        jobs.add("ok")
        requests = await sink.wait_for(5)
    (announcement,) = [request.json() for request in of_type("consecutive_failures", requests)]
    (recovery,) = [request.json() for request in of_type("recovered", requests)]
    assert announcement["details"]["failure_count"] == "3"
    assert recovery["closes"] == {"id": announcement["id"], "event_type": "consecutive_failures"}
    assert recovery["notification"]["reason"] == "recovery"


async def test_a_storm_is_one_message_and_one_digest(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    """500 schedules of one connector fail, in two waves: one leaves at once, 499 when the window ends."""
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url, window="5m")])
    async with running() as daemon:
        for wave in range(2):
            jobs.write(jobs.row("error", "timeout of a page", job=f"job {wave}-{n}") for n in range(250))
            found = 250 * (wave + 1)
            await until(lambda found=found: site.value("SELECT COUNT(*) FROM events") == found)  # type: ignore[misc]
        await until(lambda: site.states("hook") == ["sent", "gathering"])
        clock.forward(daemon, minutes=5)
        first, digest = [request.json() for request in await sink.wait_for(2)]
        await until(lambda: site.states("hook") == ["sent", "sent"])
    assert (first["notification"]["count"], first["notification"]["reason"]) == (1, "first")
    assert (digest["notification"]["count"], digest["notification"]["reason"]) == (499, "digest")
    assert len(digest["notification"]["events"]) == 20
    assert digest["details"]["count"] == "499"
    assert digest["notification"]["first_at"] < digest["notification"]["last_at"]
    assert site.imbalances() == []


async def test_a_digest_opens_the_next_window(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, clock: Clock
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url, window="5m")])
    counts = []
    async with running() as daemon:
        for n, failures in enumerate([1, 2, 3]):
            jobs.write(jobs.row("error", "no", job=f"{n}-{m}") for m in range(failures))
            total = sum([1, 2, 3][: n + 1])
            await until(lambda total=total: site.value("SELECT COUNT(*) FROM events") == total)  # type: ignore[misc]
            if n:
                clock.forward(daemon, minutes=5)
            requests = await sink.wait_for(n + 1)
            counts.append(requests[-1].json()["notification"]["count"])
            await until(lambda n=n: site.states("hook") == ["sent"] * (n + 1))  # type: ignore[misc]
    assert counts == [1, 2, 3]


async def test_a_late_error_fails_a_run_that_had_ended_well(
    site: Site, shop: SyncLog, sink: HttpSink, running: Running
) -> None:
    """In a record-level log a success is provisional, and a failed run is told once."""
    site.write(
        sources=[shop.source("shop", run_ends_after="100ms")],
        notifications=[webhook("hook", sink.url)],
    )
    async with running():
        shop.add("run-1", "success")
        await until(lambda: site.query("SELECT state FROM runs") == [("succeeded",)])
        shop.add("run-1", "error", "one record did not make it")
        await sink.wait_for(1)
        shop.add("run-1", "error", "nor did this one")
        await until(lambda: site.book("source:shop")["counted"] == 1)
    assert len(sink.requests) == 1
    assert site.query("SELECT state, failures FROM runs") == [("failed", 2)]
    assert site.imbalances() == []
